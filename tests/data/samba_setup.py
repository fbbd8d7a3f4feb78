# mypy: disable-error-code="import-not-found"
"""Provision a Samba domain controller with the tests' users and groups, by Samba's own Python modules.

Run by the system's Python, which has these modules: ``python3 samba_setup.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PASSWORD = "Passw0rd-x1"


def provision(folder: Path) -> None:
    """Make the domain CORP.EXAMPLE. Access lists of shares are left out: they need root, and no share is served."""
    import samba.provision

    samba.provision.setsysvolacl = lambda *args, **kw: None
    options = {
        "realm": "CORP.EXAMPLE",
        "domain": "CORP",
        "server-role": "dc",
        "dns-backend": "NONE",
        "adminpass": "Adm1n-pass!",
        "host-name": "dc1",
        "host-ip": "127.0.0.1",
        "targetdir": str(folder),
    }
    settings = ("interfaces=lo", "bind interfaces only=yes", "vfs objects=fake_acls xattr_tdb")
    words = [f"--{name}={value}" for name, value in options.items()] + [f"--option={value}" for value in settings]
    if run("domain", "provision", *words):
        raise SystemExit("samba-tool domain provision failed")


def fill(folder: Path) -> None:
    """Add users in every state that an account can be in, and groups within groups."""
    from samba.dsdb import DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID

    db = database(folder)
    ordinary = ("alice", "bob", "carol d'Arc", "lockedout", "expired", "oldpassword", "leaver", "changer", "mover")
    for name in (*ordinary, "disabled", "mustchange", "svc-gw", "http-svc"):
        db.newuser(name, PASSWORD, force_password_change_at_next_login_req=name == "mustchange")
    db.disable_account("(sAMAccountName=disabled)")
    set_values(db, "expired", accountExpires="116444736010000000")
    bypass = [f"local_oid:{DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID}:0"]
    set_values(db, "oldpassword", controls=bypass, pwdLastSet="130000000000000000")
    set_values(db, "http-svc", servicePrincipalName="HTTP/localhost")
    domain = f"dn: {db.domain_dn()}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: 3\n"
    db.modify_ldif(domain)
    for name in ("web-users", "web-admins", "Ops EMEA"):
        db.newgroup(name)
    sales = f"CN=Sales\\, EU,CN=Users,{db.domain_dn()}"
    db.add({"dn": sales, "objectClass": "group", "sAMAccountName": "Sales EU"})
    db.add_remove_group_members("web-users", ["alice", "bob", "carol d'Arc", "mover"])
    db.add_remove_group_members("web-admins", ["Ops EMEA"])
    db.add_remove_group_members("Ops EMEA", ["alice"])
    db.add_remove_group_members("Sales EU", ["bob"])
    export_keytab(folder, "HTTP/localhost", "http.keytab")
    add_delegating_account(folder, db)


def add_delegating_account(folder: Path, db: Any) -> None:
    """Add ``proxy``, which may act as any user towards HTTP/localhost, whatever the user logged in with."""
    database_options = [f"-s{settings_of(folder)}", "-H", str(folder / "private" / "sam.ldb")]
    db.newuser("proxy", PASSWORD)
    set_values(db, "proxy", servicePrincipalName="HTTP/proxy.corp.example")
    for words in (("for-any-protocol", "proxy", "on"), ("add-service", "proxy", "HTTP/localhost")):
        if run("delegation", *words, *database_options):
            raise SystemExit(f"samba-tool delegation {words[0]} failed")
    export_keytab(folder, "proxy", "proxy.keytab")
    export_keytab(folder, "HTTP/proxy.corp.example", "proxy.keytab")


def export_keytab(folder: Path, principal: str, file: str) -> None:
    """Add a principal's keys to a keytab."""
    options = [f"--principal={principal}", f"-s{settings_of(folder)}"]
    if run("domain", "exportkeytab", str(folder / file), *options):
        raise SystemExit("samba-tool domain exportkeytab failed")


def run(*words: str) -> int:
    """Run a command of samba-tool."""
    from samba.netcmd.main import cmd_sambatool

    return cmd_sambatool()._run("samba-tool", *words) or 0


def settings_of(folder: Path) -> Path:
    """Return the domain controller's settings file."""
    return folder / "etc" / "smb.conf"


def database(folder: Path) -> Any:
    """Open the domain's database."""
    from samba.auth import system_session
    from samba.param import LoadParm
    from samba.samdb import SamDB

    settings = LoadParm()
    settings.load(str(settings_of(folder)))
    return SamDB(url=str(folder / "private" / "sam.ldb"), session_info=system_session(), lp=settings)


def set_values(db: Any, name: str, *, controls: list[str] | None = None, **attributes: str) -> None:
    """Replace attributes of a user."""
    lines = [f"replace: {attribute}\n{attribute}: {value}\n-" for attribute, value in attributes.items()]
    dn = db.search(expression=f"(sAMAccountName={name})", attrs=[])[0].dn
    db.modify_ldif(f"dn: {dn}\nchangetype: modify\n" + "\n".join(lines) + "\n", controls)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    provision(target)
    fill(target)
