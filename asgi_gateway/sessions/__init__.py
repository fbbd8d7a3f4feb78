"""Keep logins: cookies, tokens, records of subjects, revocation."""
