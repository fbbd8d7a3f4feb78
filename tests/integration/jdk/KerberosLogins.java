import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.PrivilegedExceptionAction;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import javax.security.auth.Subject;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.callback.PasswordCallback;
import javax.security.auth.kerberos.KerberosPrincipal;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.Configuration;
import javax.security.auth.login.LoginContext;
import org.ietf.jgss.GSSContext;
import org.ietf.jgss.GSSCredential;
import org.ietf.jgss.GSSManager;

/**
 * Answers logins as the JDK does. Each line of standard input is one login, its fields separated by tabs:
 *
 * <pre>
 * password NAME PASSWORD           Krb5LoginModule as initiator
 * accept KEYTAB PRINCIPAL TOKEN    Krb5LoginModule as acceptor, then GSS-API with one token in base64
 * </pre>
 *
 * Each line of standard output is "in" and the client's principal, or "out" and the reason.
 */
public final class KerberosLogins {
    private static final String MODULE = "com.sun.security.auth.module.Krb5LoginModule";

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] fields = line.split("\t", -1);
            String answer;
            try {
                answer = "in\t" + (fields[0].equals("password") ? password(fields) : accept(fields));
            } catch (Throwable error) {
                answer = "out\t" + String.valueOf(error.getMessage()).replaceAll("\\s+", " ");
            }
            System.out.println(answer);
        }
    }

    private static String password(String[] fields) throws Exception {
        LoginContext context = login(Map.of("isInitiator", "true"), fields[1], fields[2]);
        return context.getSubject().getPrincipals(KerberosPrincipal.class).iterator().next().getName();
    }

    private static String accept(String[] fields) throws Exception {
        Map<String, String> options = new HashMap<>();
        options.put("isInitiator", "false");
        options.put("useKeyTab", "true");
        options.put("storeKey", "true");
        options.put("doNotPrompt", "true");
        options.put("keyTab", fields[1]);
        options.put("principal", fields[2]);
        byte[] token = Base64.getDecoder().decode(fields[3]);
        Subject service = login(options, null, null).getSubject();
        PrivilegedExceptionAction<String> action = () -> {
            GSSContext context = GSSManager.getInstance().createContext((GSSCredential) null);
            context.acceptSecContext(token, 0, token.length);
            if (!context.isEstablished()) {
                throw new IllegalStateException("another leg");
            }
            return context.getSrcName().toString();
        };
        return Subject.doAs(service, action);
    }

    private static LoginContext login(Map<String, String> options, String name, String password) throws Exception {
        Configuration configuration = new Configuration() {
            @Override
            public AppConfigurationEntry[] getAppConfigurationEntry(String unused) {
                AppConfigurationEntry.LoginModuleControlFlag flag = AppConfigurationEntry.LoginModuleControlFlag.REQUIRED;
                return new AppConfigurationEntry[] {new AppConfigurationEntry(MODULE, flag, options)};
            }
        };
        LoginContext context = new LoginContext("kerberos", new Subject(), callbacks -> {
            for (Callback callback : callbacks) {
                if (callback instanceof NameCallback) {
                    ((NameCallback) callback).setName(name);
                } else if (callback instanceof PasswordCallback) {
                    ((PasswordCallback) callback).setPassword(password.toCharArray());
                }
            }
        }, configuration);
        context.login();
        return context;
    }
}
