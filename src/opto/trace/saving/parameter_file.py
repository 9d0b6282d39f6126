"""Saving and loading parameters. Loading never runs code of the file's choice.

A file is JSON: the parameters, and for models their other attributes. Values that JSON cannot hold (arrays, objects of
the user's classes) are in it as a pickle that only `safe_pickle` reads. Files are replaced in one step: a crash while
saving leaves the old one whole. May import the standard library and `nodes`, `containers`, `plain_data`, `safe_pickle`.
"""

from __future__ import annotations

import json
import logging
import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opto.errors import LoadError, ReplyError
from opto.trace.containers import Map, Member, ParameterContainer, Seq, is_bundled, put_attribute
from opto.trace.nodes import ParameterNode
from opto.trace.saving.plain_data import Encoder, NotPlainError, Path, decode, node_record, parameter_of
from opto.trace.saving.safe_pickle import PROGRAM, OldObject, classes_in, dumps, loads, loads_old
from opto.trace.spaces.space import space_of

__all__ = ["load_into", "save_to", "write_atomic"]

_LOG = logging.getLogger(__name__)
_FORMAT, _VERSION = "opto-trace", 1


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a whole file or nothing; makes missing directories. Links and permissions stay, devices are written to."""
    known = os.path.exists(path)
    if known and not os.path.isfile(path):
        with open(path, "wb") as device:
            device.write(data)
        return
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    draft = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    try:
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if known:
            os.chmod(draft, os.stat(path).st_mode & 0o777)
        os.replace(draft, path)
    except BaseException:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


def save_to(path: str | os.PathLike[str], container: ParameterContainer) -> None:
    """Writes the parameters of `container`, and the other attributes of the models in it."""
    paths = _paths(container)
    document = {"format": _FORMAT, "version": _VERSION, **_document_of(container, paths, set())}
    write_atomic(path, json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def load_into(path: str | os.PathLike[str], container: ParameterContainer, known: Iterable[type] = ()) -> None:
    """Reads a file into the parameters of `container` in place; names that it lacks are attached.

    Objects are made of the classes in `known` and of those that the container's attributes have now.
    Raises LoadError for a file that is damaged, foreign or unsafe, AssertionError if it lacks a parameter.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        document = _from_old(loads_old(data)) if data[:1] == b"\x80" else _parsed(data)
        names = _Known(container, known)
        _check_names(container, document, "")
        _decode_values(document, names)
        _fit(container, document)
        _restore(container, document, names)
    except (LoadError, RecursionError) as error:
        raise LoadError(f"cannot load {os.fspath(path)!s}: {error}") from error


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise LoadError(f"it is neither JSON nor a pickle ({error})") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise LoadError("it is JSON, but not a file of saved parameters")
    if document.get("version") != _VERSION:
        raise LoadError(
            f"its format version is {document.get('version')!r}, this program reads {_VERSION}: update opto"
        )
    return document


# --- writing ------------------------------------------------------------------------------------


def _paths(container: ParameterContainer) -> dict[int, Path]:
    """Where each parameter and container is found first, by id."""
    paths: dict[int, Path] = {id(container): ()}
    ahead: list[tuple[Path, ParameterContainer]] = [((), container)]
    for path, owner in ahead:
        for key, member in owner._stored_members().items():
            if id(member) not in paths:
                paths[id(member)] = (*path, key)
                if isinstance(member, ParameterContainer):
                    ahead.append(((*path, key), member))
    return paths


def _document_of(container: ParameterContainer, paths: Mapping[int, Path], done: set[int]) -> dict[str, Any]:
    """The container as JSON; one met before is written as an empty reference."""
    if id(container) in done:
        return {"again": True}
    done.add(id(container))
    members = [
        [_encoded_key(key), _entry_of(member, paths, done)] for key, member in container._stored_members().items()
    ]
    document: dict[str, Any] = {"parameters": members}
    if all(isinstance(key, str) for key, _ in members):
        document["parameters"] = {str(key): entry for key, entry in members}
    attributes = container._stored_attributes()
    if attributes is not None:
        document["attributes"] = _attributes(attributes, paths)
    return document


def _encoded_key(key: Any) -> Any:
    try:
        return Encoder().encode(key)
    except NotPlainError as error:
        raise TypeError(f"a Map with the key {key!r} cannot be saved: use text, numbers or tuples of them") from error


def _entry_of(member: Member, paths: Mapping[int, Path], done: set[int]) -> dict[str, Any]:
    if isinstance(member, ParameterContainer):
        return _document_of(member, paths, done)
    return node_record(member, _value)


def _value(value: Any) -> Any:
    try:
        return Encoder().encode(value)
    except NotPlainError:
        pass
    try:
        return {"$pickle": _base64(dumps(value))}
    except Exception as error:
        raise TypeError(f"a parameter that holds a {type(value).__name__} cannot be saved: {error}") from error


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


def _attributes(attributes: Mapping[str, Any], paths: Mapping[int, Path]) -> dict[str, Any]:
    """Plain values as JSON; the others, and plain ones that share parts, together as one pickle."""
    plain: dict[str, Any] = {}
    holders: dict[int, set[str]] = {}
    pickled: dict[str, Any] = {}
    kept: list[str] = []
    for name, value in attributes.items():
        if isinstance(value, PROGRAM) or is_bundled(value):
            kept.append(name)
            continue
        encoder = Encoder(paths)
        try:
            plain[name] = encoder.encode(value)
        except NotPlainError:
            pickled[name] = value
        for part in encoder.seen:
            holders.setdefault(part, set()).add(name)
    for names in holders.values():
        if len(names) > 1:
            pickled.update({name: attributes[name] for name in names})
    pool = _pool(pickled, paths, kept)
    found: dict[str, Any] = {"plain": {name: tree for name, tree in plain.items() if name not in pickled}}
    if pool is not None:
        found["pickled"] = _base64(pool)
    return {**found, "kept": sorted(kept)} if kept else found


def _pool(pickled: dict[str, Any], paths: Mapping[int, Path], kept: list[str]) -> bytes | None:
    """One pickle of all values that can be pickled; the names of the others (locks, connections) join `kept`."""
    for name in list(pickled):
        try:
            dumps(pickled[name], paths)
        except Exception as error:  # noqa: BLE001 - any object of the user may refuse, each in its own way
            _LOG.warning("attribute %r is not saved, a model that loads the file keeps its own: %s", name, error)
            kept.append(name)
            del pickled[name]
    return dumps(pickled, paths) if pickled else None


# --- reading ------------------------------------------------------------------------------------


class _Known:
    """Where references lead, and which classes may be made, while a file is read."""

    def __init__(self, root: ParameterContainer, classes: Iterable[type]) -> None:
        self.root = root
        self.classes = {*classes, *classes_in(root)}

    def resolve(self, path: Path) -> Any:
        member: Any = self.root
        for key in path:
            member = member._stored_members()[key]
        return member

    def value(self, tree: Any) -> Any:
        if isinstance(tree, dict) and list(tree) == ["$pickle"]:
            return loads(_bytes(tree["$pickle"]), known=self.classes, resolve=self.resolve)
        return decode(tree, self.resolve)


def _bytes(text: Any) -> bytes:
    try:
        return a2b_base64(text)
    except (TypeError, ValueError) as error:
        raise LoadError(f"the pickled part is damaged: {error}") from error


def _entries(document: Mapping[str, Any]) -> dict[Any, dict[str, Any]]:
    stored = document.get("parameters", {})
    try:
        pairs = stored.items() if isinstance(stored, dict) else [(decode(key), entry) for key, entry in stored]
        entries = dict(pairs)
    except (TypeError, ValueError) as error:
        raise LoadError(f"its list of parameters is damaged: {error}") from error
    for key, entry in entries.items():
        if not isinstance(entry, dict) or not {"value", "parameters", "again"} & set(entry) or not _named(entry):
            raise LoadError(f"the entry of parameter {key!r} is damaged")
    return entries


def _named(entry: Mapping[str, Any]) -> bool:
    named = isinstance(entry.get("name"), str) and ":" not in entry["name"]
    return "value" not in entry or (named and isinstance(entry.get("description"), str | None))


def _check_names(container: ParameterContainer, document: Mapping[str, Any], place: str) -> None:
    """All names, and in `_decode_values` all values, come first: a file that does not fit changes nothing."""
    entries = _entries(document)
    current = container._stored_members()
    missing = [f"{place}{key}" for key in current if key not in entries]
    assert not missing, f"the file has no value for the parameters {', '.join(missing)}"
    for key, member in current.items():
        entry = entries[key]
        if isinstance(member, ParameterContainer) != ("value" not in entry):
            raise LoadError(f"{place}{key} is a {type(member).__name__} here and something else in the file")
        if isinstance(member, ParameterContainer) and "again" not in entry:
            _check_names(member, entry, f"{place}{key}.")


def _decode_values(document: Mapping[str, Any], known: _Known) -> None:
    """Puts values in place of their JSON; attributes are decoded on trial, as they may refer to new parameters."""
    for entry in _entries(document).values():
        if "value" in entry:
            entry["value"] = known.value(entry["value"])
        elif "parameters" in entry:
            _decode_values(entry, known)
    if "attributes" in document:
        _attribute_values(document["attributes"], known.classes, lambda path: None)


def _fit(container: ParameterContainer, document: Mapping[str, Any]) -> None:
    """Values of parameters that have a space become values of that space, or the file does not fit."""
    current = container._stored_members()
    for key, entry in _entries(document).items():
        member = current.get(key)
        if isinstance(member, ParameterContainer):
            _fit(member, entry)
        elif member is not None and (space := space_of(member)) is not None:
            try:
                entry["value"] = space.read(entry["value"], lambda value: value)
            except ReplyError as error:
                raise LoadError(f"the parameter {key!r} does not fit its space: {error}") from error


def _attribute_values(attributes: Any, classes: Iterable[type], resolve: Callable[[Path], Any]) -> dict[str, Any]:
    if not isinstance(attributes, dict) or not isinstance(attributes.get("plain"), dict):
        raise LoadError("its list of attributes is damaged")
    values = {name: decode(tree, resolve) for name, tree in attributes["plain"].items()}
    if "pickled" in attributes:
        values.update(loads(_bytes(attributes["pickled"]), known=classes, resolve=resolve))
    return values


def _restore(container: ParameterContainer, document: Mapping[str, Any], known: _Known) -> None:
    current = container._stored_members()
    for key, entry in _entries(document).items():
        member = current.get(key)
        if "again" in entry:
            continue
        if member is None:
            member = parameter_of(entry, None) if "value" in entry else _new_container(entry)
            container._attach_member(key, member)
        if isinstance(member, ParameterNode):
            member._data = entry["value"]
            member._remember_user_texts(entry.get("own"))
        else:
            _restore(member, entry, known)
    if "attributes" in document:
        attributes = document["attributes"]
        for name, value in _attribute_values(attributes, known.classes, known.resolve).items():
            put_attribute(container, name, value)
        for name in attributes.get("kept", ()):
            if not hasattr(container, name):
                _LOG.warning("attribute %r was not saved and %s has none", name, type(container).__name__)


def _new_container(entry: Mapping[str, Any]) -> ParameterContainer:
    keys = list(_entries(entry))
    if all(isinstance(key, str) and key.isidentifier() for key in keys):
        return ParameterContainer()
    return Seq() if keys == list(range(len(keys))) else Map()


# --- the earlier library ------------------------------------------------------------------------


def _from_old(value: Any) -> dict[str, Any]:
    """A pickle of the earlier library as a document of ours."""
    if isinstance(value, dict) and set(value) == {"parameters_dict", "non_parameters_dict"}:
        document = _from_old(value["parameters_dict"])
        return {**document, "attributes": _attributes(value["non_parameters_dict"], {})}
    if not isinstance(value, dict):
        raise LoadError("it is a pickle, but not one of saved parameters")
    return {"parameters": [[_encoded_key(key), _old_member(key, member)] for key, member in value.items()]}


def _old_member(key: Any, member: Any) -> dict[str, Any]:
    if isinstance(member, dict):
        return _from_old(member)
    if isinstance(member, OldObject) and "_data" in member.state:
        name = str(member.state.get("_name", key)).rsplit(":", 1)[0]
        return {"name": name, "value": _value(member.state["_data"]), "description": member.state.get("_description")}
    if isinstance(member, OldObject) and "data" in member.state:
        data = member.state["data"]
        return _from_old(dict(enumerate(data)) if isinstance(data, list) else data)
    raise LoadError(
        f"it is a pickle of the earlier library whose parameter {key!r} cannot be read: save it again as JSON"
    )
