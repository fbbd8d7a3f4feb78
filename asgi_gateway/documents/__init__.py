"""Read XML and YAML files as trees that know the position of everything.

Configuration files, ``jaas-config.xml`` and YAML user files are read through here, so that each has the same bounds
(size, depth, number of nodes), the same refusals (DOCTYPE, entities, XInclude, tags, merge keys, duplicate keys) and
the same errors. To read one, and to turn a position into a Problem::

    root = read_xml(Path("jaas-config.xml"))            # or bytes; any failure is a ConfigError with its position
    for user in root.children:
        if user.name != "user":
            problems.append(user.mark.problem(f"unknown element <{user.name}>", hint="did you mean <user>?"))
    names = [collapse(child.text) for child in root.find("name")]

    node = read_yaml(Path("users.yaml"))
    users = node.get("users")                           # a Node or None; node.keys["users"] is the key's position
    if users is None or not users.is_mapping:
        raise ConfigError((users or node).mark.problem("missing users", path="users"))
    raw = users.get("joe").text                         # a scalar as the file spells it: 007 stays "007"
"""

from asgi_gateway.documents.nodes import Mark, Node, XmlElement, collapse
from asgi_gateway.documents.xml_reader import read_xml
from asgi_gateway.documents.yaml_reader import read_yaml

__all__ = ["Mark", "Node", "XmlElement", "collapse", "read_xml", "read_yaml"]
