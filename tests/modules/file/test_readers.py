"""The three formats of a users file, each with its mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asgi_gateway.errors import ConfigError
from asgi_gateway.modules.file.readers import read_users_file
from asgi_gateway.modules.file.users import Users

SHA = "{SSHA}3Ppt4+cek7i7kCaZz+2DH/E54U+ix/eT"

XML = f"""<?xml version="1.0" encoding="UTF-8"?>
<jaas-config xmlns="http://xmlns.kaazing.com/jaas-config/centurion">
    <user>
        <name> joe </name>
        <password>
            {SHA}
        </password>
        <role-name>ADMINISTRATOR</role-name>
        <role-name>GUEST</role-name>
    </user>
    <user><name>jürgen</name><password><![CDATA[a <b> & c]]></password></user>
    <role>
        <name>ADMINISTRATOR</name>
        <description>May do anything</description>
        <role-name>AUTHORIZED</role-name>
    </role>
    <role><name>AUTHORIZED</name><role-name>READER</role-name><role-name>GUEST</role-name></role>
    <role><name>READER</name></role>
    <role><name>GUEST</name></role>
</jaas-config>
"""

YAML = f"""users:
  - name: joe
    password: "{SHA}"
    roles: [ADMINISTRATOR, GUEST]
  - name: jürgen
    password: a <b> & c
roles:
  - name: ADMINISTRATOR
    description: May do anything
    roles: AUTHORIZED
  - name: AUTHORIZED
    role-name: [READER, GUEST]
  - READER
  - {{name: GUEST}}
"""

HTPASSWD = f"""# users
joe:{SHA}

jürgen:{{PLAIN}}a <b> & c
  des:jqwl2Wi8z5al6\r
"""

GROUPS = """# roles
ADMINISTRATOR: joe
GUEST: jürgen joe
ADMINISTRATOR: jürgen
"""


def load(tmp_path: Path, text: str | bytes, name: str = "users", groups: Any = None, passwords: Any = True) -> Any:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    roles = None
    if groups is not None:
        roles = tmp_path / "groups"
        roles.write_text(groups, encoding="utf-8")
    return Users.of(read_users_file(file, roles), passwords=passwords)


def problems(tmp_path: Path, text: str | bytes, **kw: Any) -> Any:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **kw)
    return [(p.line, p.message) for p in caught.value.problems if p.severity == "error"]


@pytest.mark.parametrize("name", ["users", "jaas-config.xml", "users.txt"])
def test_xml(tmp_path: Path, name: str) -> None:
    """A jaas-config.xml is known by its content, and a user has the closure of nested roles."""
    users = load(tmp_path, XML, name).by_name
    assert set(users) == {"joe", "jürgen"}
    assert users["joe"].roles == ("ADMINISTRATOR", "GUEST", "AUTHORIZED", "READER")
    assert users["joe"].password.verify("secret")
    assert users["jürgen"].roles == ()
    assert users["jürgen"].password.verify("a <b> & c")


@pytest.mark.parametrize("namespace", ["", ' xmlns="urn:anything"'])
def test_xml_namespaces(tmp_path: Path, namespace: Any) -> None:
    """Any namespace is right, and none."""
    text = f"<jaas-config{namespace}><user><name>a</name><password>b</password></user></jaas-config>"
    assert "a" in load(tmp_path, text).by_name


@pytest.mark.parametrize(
    "text",
    [
        YAML,
        YAML.replace("users:", "user:").replace("roles:\n", "role:\n"),
        "jaas-config:\n  " + YAML.replace("\n", "\n  "),
    ],
    ids=["plural", "singular", "wrapped"],
)
@pytest.mark.parametrize("name", ["users", "users.yaml"])
def test_yaml(tmp_path: Path, text: str, name: str) -> None:
    """The YAML form holds the same as the XML form, under singular or plural keys."""
    ours, theirs = load(tmp_path, text, name).by_name, load(tmp_path, XML, "x.xml").by_name
    assert {n: (u.roles, u.password.scheme) for n, u in ours.items()} == {
        n: (u.roles, u.password.scheme) for n, u in theirs.items()
    }
    assert ours["joe"].password.verify("secret")
    assert ours["jürgen"].password.verify("a <b> & c")


def test_yaml_numbers(tmp_path: Path) -> None:
    """Names, passwords and roles that look like numbers or booleans are text, as the file spells them."""
    users = load(tmp_path, "users: [{name: 007, password: 0123, role: true}]\nroles: [true]").by_name
    assert users["007"].password.verify("0123")
    assert users["007"].roles == ("true",)


def test_json(tmp_path: Path) -> None:
    """JSON is YAML."""
    assert "a" in load(tmp_path, '{"users": [{"name": "a", "password": "b"}]}').by_name


def test_htpasswd(tmp_path: Path) -> None:
    """An htpasswd file takes its roles from a groups file whose lines may repeat a role."""
    users = load(tmp_path, HTPASSWD, groups=GROUPS).by_name
    assert users["joe"].roles == ("ADMINISTRATOR", "GUEST")
    assert users["jürgen"].roles == ("GUEST", "ADMINISTRATOR")
    assert users["joe"].password.verify("secret")
    assert users["des"].password.verify("secret")
    assert users["jürgen"].password.verify("a <b> & c")


def test_htpasswd_user_named_like_a_key(tmp_path: Path) -> None:
    """A user called users does not make an htpasswd file YAML."""
    assert load(tmp_path, f"users:{SHA}\n").by_name["users"].password.verify("secret")


def test_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark, as some editors write it, changes nothing."""
    assert "joe" in load(tmp_path, b"\xef\xbb\xbf" + XML.encode()).by_name
    assert "a" in load(tmp_path, b"\xef\xbb\xbfa:{PLAIN}b\n").by_name


def test_groups_name_unknown_user(tmp_path: Path) -> None:
    """A groups file that still lists a removed user is a warning, so that the removal is not held up by it."""
    users = load(tmp_path, f"joe:{SHA}\n", groups="A: joe gone\n")
    assert [(w.line, w.severity) for w in users.warnings] == [(1, "warning")]
    assert "'gone'" in users.warnings[0].message


def test_role_cycle(tmp_path: Path) -> None:
    """Roles that contain each other are one another's equals, with a warning."""
    text = f"users: [{{name: a, password: '{SHA}', role: X}}]\nroles: [{{name: X, role: Y}}, {{name: Y, role: X}}]"
    users = load(tmp_path, text)
    assert users.by_name["a"].roles == ("X", "Y")
    assert [w.message for w in users.warnings] == ["the role 'X' contains itself", "the role 'Y' contains itself"]


def test_plain_text(tmp_path: Path) -> None:
    """Plain text passwords make one warning, which counts them and names the command and the place."""
    (warning,) = load(tmp_path, "users: [{name: a, password: b},\n{name: c, password: '{PLAIN}{SSHA}d'}]").warnings
    assert "2 passwords are plain text" in warning.message
    assert "asgi-gateway hash-password" in warning.hint
    assert (warning.file, warning.line) == (tmp_path / "users", 1)


def test_plain_text_that_looks_like_a_hash(tmp_path: Path) -> None:
    """{PLAIN} keeps a password that looks like a hash from being read as one."""
    user = load(tmp_path, "users: [{name: c, password: '{plain}{SSHA}d'}]").by_name["c"]
    assert user.password.verify("{SSHA}d")


XML_MISTAKES = {
    "<jaas-config><user><name>a</name></user></jaas-config>": "the user 'a' has no password",
    "<jaas-config><user><password>b</password></user></jaas-config>": "<user> needs one <name>, it has none",
    "<jaas-config><user><name>a</name><name>b</name><password>b</password></user></jaas-config>": "has 2",
    "<jaas-config><user><name> </name><password>b</password></user></jaas-config>": "empty name",
    "<jaas-config><user><name>a</name><password> </password></user></jaas-config>": "an empty password",
    "<jaas-config><user><name>a</name><password>b</password><role-name>X</role-name></user></jaas-config>": "role 'X'",
    "<jaas-config><role><name>R</name><role-name>S</role-name></role></jaas-config>": "unknown role 'S'",
    "<jaas-config><role><name>R</name></role><role><name>R</name></role></jaas-config>": "duplicate role 'R'",
    "<jaas-config><user name='a'><name>a</name><password>b</password></user></jaas-config>": "no attributes",
    "<jaas-config><user><name>a</name><password>b</password><rolename/></user></jaas-config>": "element <rolename>",
    "<jaas-config><usr/></jaas-config>": "unknown element <usr>",
    "<jaas-config><user>x<name>a</name><password>b</password></user></jaas-config>": "text between",
    "<jaas-config>x<user><name>a</name><password>b</password></user></jaas-config>": "text between",
    "<jaas-config><user><name>a</name><password>b<i/></password></user></jaas-config>": "holds text only",
    "<users/>": "<users> is not the root of a users file",
    "<jaas-config><user></jaas-config>": "<user> opened at 1:14 is not closed",
    "<!DOCTYPE x><jaas-config/>": "DOCTYPE",
}


@pytest.mark.parametrize(("text", "message"), XML_MISTAKES.items(), ids=XML_MISTAKES.values())
def test_xml_mistakes(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake in a jaas-config.xml is an error with its line."""
    ((line, found),) = problems(tmp_path, text)
    assert line == 1
    assert message in found


YAML_MISTAKES = {
    "users: [{name: a}]": "the user 'a' has no password",
    "users: [{name: a, password: null}]": "the user 'a' has no password",
    "users: [{password: b}]": "a user has no name",
    "roles: [{role: [x]}]": "a role has no name",
    "users: [{name: '', password: b}]": "a name must be text, not nothing",
    "users: [{name: [a], password: b}]": "a name must be text, not a list",
    "users: [{name: a, password: ''}]": "an empty password",
    "users: [{name: a, password: [b]}]": "a password is a single value",
    "users: [{name: a, password: b, rols: c}]": "unknown key 'rols' in a user",
    "users: [{name: a, password: b, role: R}]": "unknown role 'R'",
    "roles: ['']\nusers: ~": "a name must be text, not nothing",
    "users: [joe]": "a user must be a mapping, not a single value",
    "users: []\nuser: []": "'user' and 'users' mean the same",
    "users: []\ngroups: []": "unknown key 'groups' in the file",
    "users: []\nusers: []": "users",
    "users: [{name: a, password: b}, {name: a, password: c}]": "duplicate user 'a', first at 1:16",
}


@pytest.mark.parametrize(("text", "message"), YAML_MISTAKES.items(), ids=YAML_MISTAKES.values())
def test_yaml_mistakes(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake in a YAML users file is an error with its line."""
    ((line, found),) = problems(tmp_path, text)
    assert line in {1, 2}
    assert message in found


@pytest.mark.parametrize("secret", ["sesame,canary", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$canary"])
def test_no_secret_without_quotes(tmp_path: Path, secret: str) -> None:
    """A hash or password that a comma cuts off because it has no quotes is told without showing what was cut off."""
    found = [message for _, message in problems(tmp_path, f"users: [{{name: a, password: {secret}}}]")]
    assert "a key without a value in a user" in found
    assert "canary" not in " ".join(found)


def test_not_a_mapping(tmp_path: Path) -> None:
    """A YAML file that is a list is no users file."""
    ((_, message),) = problems(tmp_path, "- a\n", name="users.yml")
    assert message == "the file must be a mapping, not a list"


def test_htpasswd_mistakes(tmp_path: Path) -> None:
    """All mistakes of an htpasswd file are told at once, each with its line, and none quotes a password."""
    found = problems(
        tmp_path, "hunter2\n:hunter2\na:hunter2\nb:$y$hunter2\nc:{SSHA}hunter2\nb:x\nd :hunter2\n", groups="R joe\n"
    )
    assert [line for line, _ in found] == [1, 2, 7, 1, 6, 3, 4, 5]
    assert not any("hunter2" in message for _, message in found)


def test_groups_need_htpasswd(tmp_path: Path) -> None:
    """The roles option beside a file that defines roles itself is an error."""
    for text in (XML, YAML):
        ((_, message),) = problems(tmp_path, text, groups=GROUPS)
        assert "htpasswd" in message


def test_missing_and_empty(tmp_path: Path) -> None:
    """Missing and empty files are errors, for users and groups alike."""
    with pytest.raises(ConfigError, match="no such file"):
        read_users_file(tmp_path / "none")
    ((_, message),) = problems(tmp_path, "\n")
    assert "empty" in message
    (tmp_path / "users").write_text("a:b\n")
    with pytest.raises(ConfigError, match=r"groups.*no such file"):
        read_users_file(tmp_path / "users", tmp_path / "groups")


def test_not_utf8(tmp_path: Path) -> None:
    """A file that is not UTF-8 is an error with its line."""
    ((line, message),) = problems(tmp_path, b"a:b\nj\xfcrgen:x\n")
    assert line == 2
    assert "UTF-8" in message


def test_wrong_format(tmp_path: Path) -> None:
    """A file called .xml that holds no XML is told so."""
    ((_, message),) = problems(tmp_path, "a:b\n", name="users.xml")
    assert "not XML" in message


def test_without_passwords(tmp_path: Path) -> None:
    """Where passwords are not needed, a user may have none."""
    user = load(tmp_path, "users: [{name: a@B, role: R}]\nroles: [R]", passwords=False).by_name["a@B"]
    assert user.password is None
    assert user.roles == ("R",)


def test_nothing_printed(tmp_path: Path) -> None:
    """What is read shows no password."""
    file = tmp_path / "users"
    file.write_text("joe:{PLAIN}hunter2\n")
    found = read_users_file(file)
    assert "hunter2" not in repr(found) + repr(Users.of(found, passwords=True))
