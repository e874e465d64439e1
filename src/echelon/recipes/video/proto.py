"""The messages of TensorFlow's Example and SequenceExample, without TensorFlow.

Source: tensorflow/core/example/feature.proto and example.proto. The classes are made at run time: generated code would
be bound to one version of protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from echelon.errors import EchelonError

_PACKAGE = "echelon.video"


@dataclass(frozen=True)
class Messages:
    """The classes of the two messages."""

    example: Any
    sequence: Any


@lru_cache(maxsize=1)
def messages() -> Messages:
    """
    Raises:
        EchelonError: protobuf is not installed.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise EchelonError("TFRecord files need protobuf: pip install 'echelon[video]'") from None
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="echelon/video.proto", package=_PACKAGE, syntax="proto3")

    def message(name: str) -> Any:
        return file.message_type.add(name=name)

    def nested(owner: Any, name: str, number: int, kind: str, **rest: Any) -> None:
        owner.field.add(name=name, number=number, type=field.TYPE_MESSAGE, type_name=f".{_PACKAGE}.{kind}", **rest)

    for name, scalar in (("BytesList", field.TYPE_BYTES), ("FloatList", field.TYPE_FLOAT),
                         ("Int64List", field.TYPE_INT64)):  # fmt: skip
        message(name).field.add(name="value", number=1, type=scalar, label=field.LABEL_REPEATED)
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(
        (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), start=1
    ):
        nested(feature, name, number, kind, oneof_index=0)
    nested(message("FeatureList"), "feature", 1, "Feature", label=field.LABEL_REPEATED)
    for owner, name, kind in (("Features", "feature", "Feature"), ("FeatureLists", "feature_list", "FeatureList")):
        holder, entry = message(owner), "".join(part.capitalize() for part in name.split("_")) + "Entry"
        pair = holder.nested_type.add(name=entry)
        pair.options.map_entry = True
        pair.field.add(name="key", number=1, type=field.TYPE_STRING)
        nested(pair, "value", 2, kind)
        nested(holder, name, 1, f"{owner}.{entry}", label=field.LABEL_REPEATED)
    nested(message("Example"), "features", 1, "Features")
    sequence = message("SequenceExample")
    nested(sequence, "context", 1, "Features")
    nested(sequence, "feature_lists", 2, "FeatureLists")

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    example, sequence = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("Example", "SequenceExample")
    )
    return Messages(example, sequence)
