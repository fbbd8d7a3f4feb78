"""Files of the original's many kinds: they load, what is not served is said, and nothing is open that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_gateway.config import load_config, loads
from asgi_gateway.config.build import build
from asgi_gateway.config.load import LoadedConfig
from asgi_gateway.errors import ConfigError
from asgi_gateway.gateway import Gateway
from asgi_gateway.model import Allow, Challenge, Forbid
from tests.gateways import basic, request

REALM = """
<realm><name>hall</name><description>Hall</description><authentication>
  <http-challenge-scheme>Application Basic</http-challenge-scheme>
  <login-modules><login-module><type>file</type><success>required</success>
    <options><file>users.xml</file></options></login-module></login-modules>
</authentication></realm>"""
LOCK = (
    "<realm-name>hall</realm-name>"
    "<authorization-constraint><require-role>GUEST</require-role></authorization-constraint>"
)
ADA = basic("ada", "ada-pw")


def config(services: str, top: str = "", realms: str = REALM, namespace: str = "2016/06/gateway") -> str:
    """A whole file."""
    return (
        f'<gateway-config xmlns="http://xmlns.kaazing.org/{namespace}">{top}{services}'
        f"<security>{realms}</security></gateway-config>"
    )


def service(inner: str, name: str = "tried") -> str:
    return f"<service><name>{name}</name>{inner}</service>"


OTHER = service(f"<accept>http://localhost:8000/other</accept><type>echo</type>{LOCK}", "other")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with users and a folder of files."""
    (tmp_path / "users.xml").write_text(
        "<jaas-config><user><name>ada</name><password>ada-pw</password><role-name>GUEST</role-name></user>"
        "<role><name>GUEST</name></role></jaas-config>"
    )
    (tmp_path / "web" / "base").mkdir(parents=True)
    return tmp_path


def loaded(text: str, home: Path) -> LoadedConfig:
    return loads(text, "xml", directory=home, environment={})


def severities(found: LoadedConfig) -> list[tuple[str, str]]:
    """Path and severity of all problems but those about the users file."""
    return [(each.path, each.severity) for each in found.problems]


async def outcome(gateway: Gateway, path: str, *, kind: str = "http", login: bool = False) -> type:
    """What the gateway decides on a request."""
    return type(await gateway.decide(request(path, *([ADA] if login else []), kind=kind)))


@pytest.mark.anyio
@pytest.mark.parametrize("namespace", ["2014/09/gateway", "2015/11/gateway", "2016/06/gateway", "2012/09/anything"])
async def test_the_usual_file(home: Path, namespace: str) -> None:
    """What comes with the original: files, an echo, a broker, management and an update check, with defaults."""
    top = """
    <properties>
      <property><name>gateway.hostname</name><value>localhost</value></property>
      <property><name>gateway.base.port</name><value>8000</value></property>
      <property><name>gateway.base</name><value>${gateway.hostname}:${gateway.base.port}</value></property>
    </properties>
    <service-defaults>
      <accept-options>
        <ssl.protocols>TLSv1.2</ssl.protocols><ssl.ciphers>HIGH</ssl.ciphers>
        <ssl.verify-client>none</ssl.verify-client>
      </accept-options>
      <mime-mapping><extension>html</extension><mime-type>text/html</mime-type></mime-mapping>
      <mime-mapping><extension>js</extension><mime-type>text/javascript</mime-type></mime-mapping>
    </service-defaults>
    <cluster><name>all</name><accept>tcp://192.168.2.10:5941</accept><connect>tcp://192.168.4.10:5941</connect></cluster>
    """
    services = [
        service(
            "<accept>http://${gateway.base}/</accept><type>directory</type><properties><directory>/base</directory>"
            "<welcome-file>index.html</welcome-file><error-pages-directory>/error-pages</error-pages-directory></properties>",
            "base",
        ),
        service(f"<accept>ws://${{gateway.base}}/echo</accept><type>echo</type>{LOCK}", "echo"),
        service(
            f"<accept>ws://${{gateway.base}}/amqp</accept><connect>tcp://localhost:5672</connect><type>amqp.proxy</type>{LOCK}",
            "amqp",
        ),
        service(
            "<accept>sse://${gateway.base}/sse</accept><type>broadcast</type>"
            "<properties><accept>udp://localhost:50505</accept></properties>",
            "feed",
        ),
        service(f"<accept>ws://${{gateway.base}}/snmp</accept><type>management.snmp</type>{LOCK}", "snmp"),
        service(
            "<type>management.jmx</type><properties><connector.server.address>jmx://localhost:2020/"
            f"</connector.server.address></properties>{LOCK}",
            "jmx",
        ),
        service("<type>update.check</type>", "updates"),
    ]
    found = loaded(config("".join(services), top, namespace=namespace), home)
    assert severities(found) == [
        ("service-defaults.accept-options.ssl.protocols", "ignored"),
        ("service-defaults.accept-options.ssl.ciphers", "ignored"),
        ("service-defaults.accept-options.ssl.verify-client", "ignored"),
        ("cluster", "ignored"),
        ("services[2].type", "warning"),
        ("services[3].type", "warning"),
        ("services[4].type", "warning"),
        ("services[5]", "ignored"),
        ("services[6]", "ignored"),
    ]
    gateway = build(found)
    assert await outcome(gateway, "/index.html") is Allow
    assert await outcome(gateway, "/echo", kind="websocket") is Challenge
    assert await outcome(gateway, "/echo", kind="websocket", login=True) is Allow
    for path in ("/amqp", "/snmp", "/sse"):
        for kind in ("http", "websocket"):
            assert await outcome(gateway, path, kind=kind, login=True) is Forbid


@pytest.mark.anyio
@pytest.mark.parametrize(
    "accept",
    [
        "tcp://@eth0:9000",
        "tcp://[@eth0:1]:9000",
        "tcp://0.0.0.0:9000",
        "udp://239.0.0.1:9000",
        "ssl://localhost:9000",
        "pipe://inner",
        "sse://localhost:8000/tried",
        "sse+ssl://localhost:8443/tried",
        "httpx://localhost:8000/tried",
        "wse://localhost:8000/tried",
        "wsn+ssl://localhost:8443/tried",
    ],
)
async def test_accepts_of_other_transports(home: Path, accept: str) -> None:
    """A service of another transport opens nothing, with a realm or without, and the file works."""
    for lock in ("", LOCK):
        tried = service(f"<accept>{accept}</accept><connect>tcp://localhost:9001</connect><type>proxy</type>{lock}")
        gateway = build(loaded(config(tried + OTHER), home))
        assert await outcome(gateway, "/tried", login=True) is Forbid
        assert await outcome(gateway, "/tried", kind="websocket", login=True) is Forbid
        assert await outcome(gateway, "/other") is Challenge


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("pipe.transport", "pipe://inner"),
        ("http.transport", "pipe://inner"),
        ("tcp.transport", "socks+ssl://dmz.example.com:1080"),
        ("tcp.transport", "socks://dmz.example.com:1080"),
        ("ssl.transport", "tcp://127.0.0.1:9000"),
    ],
)
async def test_a_service_behind_another(home: Path, option: str, value: str) -> None:
    """A service that is accepted over a pipe, or over a connection that leads out, is not open at its accept URL."""
    inner = service(
        f"<accept>http://localhost:8000/tried</accept><type>echo</type><accept-options><{option}>{value}</{option}>"
        "</accept-options>"
    )
    found = loaded(config(inner + OTHER), home)
    assert [each.severity for each in found.problems if each.path.startswith("services[0].accept")] == [
        "warning",
        "ignored",
    ]
    gateway = build(found)
    for kind in ("http", "websocket"):
        assert await outcome(gateway, "/tried", kind=kind) is Forbid
        assert await outcome(gateway, "/tried", kind=kind, login=True) is Forbid
    assert await outcome(gateway, "/other", login=True) is Allow


@pytest.mark.parametrize("value", ["http://localhost:9000", "${where}", "", "elsewhere", "https://a.example/"])
def test_a_transport_that_is_none(home: Path, value: str) -> None:
    """A transport of HTTP, or one that does not say what it is, is an error, in service-defaults any."""
    option = f"<accept-options><http.transport>{value}</http.transport></accept-options>"
    top = "<properties><property><name>where</name><value>pipe://inner</value></property></properties>"
    tried = service(f"<accept>http://localhost:8000/tried</accept><type>echo</type>{option}")
    defaults = "<service-defaults>{}</service-defaults>"
    pipe = "<accept-options><pipe.transport>pipe://inner</pipe.transport></accept-options>"
    for text in (config(tried, top), config(OTHER, top + defaults.format(pipe))):
        with pytest.raises(ConfigError) as caught:
            loaded(text, home)
        assert any("would be accepted at its accept URL" in each.message for each in caught.value.problems)


@pytest.mark.anyio
async def test_the_connections_of_a_service_may_go_elsewhere(home: Path) -> None:
    """Back ends of other transports, and balancing, leave the service closed or change nothing."""
    services = [
        service("<accept>ws://localhost:8000/a</accept><connect>pipe://x</connect><type>proxy</type>", "a"),
        service("<accept>ws://localhost:8000/b</accept><connect>udp://localhost:1</connect><type>proxy</type>", "b"),
        service(
            "<accept>ws://localhost:8000/c</accept><balance>ws://localhost:8001/c</balance><type>echo</type>"
            "<notify>pns://apple</notify>" + LOCK,
            "c",
        ),
    ]
    gateway = build(loaded(config("".join(services)), home))
    for path in ("/a", "/b"):
        assert await outcome(gateway, path, kind="websocket", login=True) is Forbid
    assert await outcome(gateway, "/c", kind="websocket", login=True) is Allow


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("ip-filter", "restrict addresses in front of the gateway"),
        ("class:org.kaazing.gateway.security.auth.GrantLoginModule", "write grant"),
        ("class:de.acme.OwnLoginModule", "port the module to Python"),
        ("fle", "did you mean 'file'?"),
    ],
)
def test_login_modules_of_the_original(home: Path, module: str, words: str) -> None:
    """A login module that is not here stops the file, with a hint: it controls access."""
    (home / "gateway.xml").write_text(config(OTHER, realms=REALM.replace("<type>file<", f"<type>{module}<")))
    with pytest.raises(ConfigError) as caught:
        load_config(home / "gateway.xml")
    assert any(words in each.hint for each in caught.value.problems)


@pytest.mark.parametrize("value", ["required", "Required", "${verify}"])
def test_client_certificates(home: Path, value: str) -> None:
    """A service that verifies client certificates stops the file, however that is written."""
    option = f"<accept-options><ssl.verify-client>{value}</ssl.verify-client></accept-options>"
    top = "<properties><property><name>verify</name><value>required</value></property></properties>"
    tried = service(f"<accept>https://localhost:8443/tried</accept><type>echo</type>{option}")
    with pytest.raises(ConfigError) as caught:
        loaded(config(tried, top), home)
    assert any("every client would get in" in each.message for each in caught.value.problems)


@pytest.mark.anyio
async def test_properties(home: Path) -> None:
    """A property may use those above it, and what is given from outside goes before them."""
    top = """<properties>
      <property><name>stage</name><value>test</value></property>
      <property><name>path</name><value>/${stage}/tried</value></property>
    </properties>"""
    text = config(service(f"<accept>http://localhost:8000${{path}}</accept><type>echo</type>{LOCK}"), top)
    gateway = build(loaded(text, home))
    assert await outcome(gateway, "/test/tried", login=True) is Allow
    outside = build(loads(text, "xml", directory=home, environment={}, properties={"stage": "live"}))
    assert await outcome(outside, "/live/tried", login=True) is Allow
    assert await outcome(outside, "/test/tried", login=True) is Forbid
    with pytest.raises(ConfigError) as caught:
        loaded(config(service("<accept>http://localhost:8000/${nothing}</accept><type>echo</type>")), home)
    assert any("nothing" in each.message for each in caught.value.problems)


@pytest.mark.anyio
async def test_two_realms_by_an_option(home: Path) -> None:
    """``http.realm`` names several realms, and the service is not open to who has one of them."""
    second = REALM.replace("<name>hall<", "<name>vault<")
    option = "<accept-options><http.realm>hall,vault</http.realm></accept-options>"
    tried = service(f"<accept>http://localhost:8000/tried</accept><type>echo</type>{option}")
    gateway = build(loaded(config(tried, realms=REALM + second), home))
    assert await outcome(gateway, "/tried") is Challenge
    assert await outcome(gateway, "/tried", login=True) is Challenge


@pytest.mark.parametrize(
    ("inner", "path", "words"),
    [
        ("<type>ehco</type>", "services[0].type", "did you mean 'echo'?"),
        ("<type>echo</type><propertis/>", "services[0].propertis", "did you mean"),
        ("<type>proxy</type>", "services[0].type", "add connect"),
        ("<type>echo</type><connect>tcp://a:1</connect>", "services[0].connect[0]", "remove it"),
        ("<type>proxy</type><properties><connect>tcp://a:1</connect></properties>", "services[0].type", "add connect"),
        ("<type>echo</type><realm-name>hal</realm-name>", "services[0].realm-name[0]", "did you mean 'hall'?"),
    ],
)
def test_mistakes(home: Path, inner: str, path: str, words: str) -> None:
    """What neither the original nor this gateway has is an error with its place and a hint, never silence."""
    with pytest.raises(ConfigError) as caught:
        loaded(config(service(f"<accept>ws://localhost:8000/tried</accept>{inner}") + OTHER), home)
    found = [each for each in caught.value.problems if each.severity == "error"]
    assert [each.path for each in found] == [path]
    assert words in found[0].hint
