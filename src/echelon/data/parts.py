"""Reading one data file of a dataset, with the certainty that it is the file that the manifest means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from echelon.data.manifest import DataFile, Dataset, RowGroup, digest_of
from echelon.data.storage import Storage
from echelon.errors import DataError, StorageError

_TAIL = 8
_MAGIC = b"PAR1"
_PAGES_AHEAD = 1 << 20


@dataclass(frozen=True)
class Part:
    """An open data file. Not for several threads at once; closed by `close` or as a context manager."""

    url: str
    parquet: pq.ParquetFile
    _source: pa.NativeFile

    def read(self, groups: Sequence[int], columns: Sequence[str], use_threads: bool = False) -> pa.Table:
        """These row groups and columns, page checksums verified where the file has them.

        Raises:
            DataError: the file is damaged; the message names it. StorageError: its bytes cannot be read.
        """

        def decode() -> pa.Table:
            return self.parquet.read_row_groups(list(groups), columns=list(columns), use_threads=use_threads)

        try:
            return decode()
        except MemoryError:
            raise
        except (OSError, pa.ArrowException):
            self._read_raw(groups)
        # The bytes can be read, so it was the network and it has passed, or the bytes are wrong.
        try:
            return decode()
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.url} is damaged in row groups {list(groups)}: {error}. Write it again") from error

    def pieces(self, group: int, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """A row group as record batches of at most so many rows, of which one is in memory at a time.

        Raises:
            OSError, ArrowException: the file is damaged or its bytes cannot be read, which `read` tells apart.
        """
        return self.parquet.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)

    def _read_raw(self, groups: Sequence[int]) -> None:
        """Read the bytes of row groups without making sense of them, to tell a bad storage from bad data."""
        metadata = self.parquet.metadata
        chunks = [metadata.row_group(g).column(c) for g in groups for c in range(metadata.num_columns)]
        for chunk in chunks:
            start = min(offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset)
            _read_at(self.url, self._source, chunk.total_compressed_size, start)

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_part(dataset: Dataset, file: DataFile, verify: bool = True) -> Part:
    """Open a data file of a dataset.

    verify: whether pages are checked against their checksums as they are read.

    Raises:
        DataError: the file is missing, truncated or was changed since it was written; the message names it.
        StorageError: it cannot be read at present.
    """
    url = dataset.data.url_of(file.path)
    try:
        source = dataset.data.open_input(file.path)
    except FileNotFoundError as error:
        raise DataError(f"{error}, which belongs to the dataset {dataset.url}: restore it or prepare again") from None
    try:
        size = _size(url, source)
        if size != file.size:
            raise DataError(f"{url} has {size} bytes, the manifest says {file.size}: it was truncated or changed")
        footer = read_footer(url, source)
        if digest_of(footer) != file.digest:
            raise DataError(f"{url} was changed since the dataset was written (its footer differs): prepare it again")
        ahead = _PAGES_AHEAD if dataset.data.is_local else 0
        return Part(url, _parquet(url, source, footer, verify, ahead), source)
    except BaseException:
        source.close()
        raise


def describe_part(storage: Storage, path: str) -> tuple[str, int, pq.FileMetaData, pa.Schema]:
    """Digest of the footer, size, metadata and Arrow schema of a Parquet file.

    Raises:
        DataError: it is not a Parquet file.
    """
    url = storage.url_of(path)
    with storage.open_input(path) as source:
        footer = read_footer(url, source)
        parquet = _parquet(url, source, footer, verify=False)
        return digest_of(footer), source.size(), parquet.metadata, parquet.schema_arrow


def data_file(storage: Storage, path: str) -> DataFile:
    """What a manifest says of a Parquet file.

    Raises:
        DataError: it is not a Parquet file.
    """
    digest, size, metadata, _ = describe_part(storage, path)
    return data_file_of(path, digest, size, metadata)


def data_file_of(path: str, digest: str, size: int, metadata: pq.FileMetaData) -> DataFile:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    return DataFile(path, size, digest, tuple(RowGroup(group.num_rows, group.total_byte_size) for group in groups))


def read_footer(url: str, source: pa.NativeFile) -> bytes:
    """The footer of a Parquet file: the last bytes from the metadata on.

    Raises:
        DataError: the file does not end like a Parquet file.
    """
    size = _size(url, source)
    tail = _read_at(url, source, min(_TAIL, size), max(size - _TAIL, 0))
    length = int.from_bytes(tail[:4], "little") + _TAIL
    if len(tail) < _TAIL or tail[4:] != _MAGIC or length + len(_MAGIC) > size:
        raise DataError(f"{url} does not end like a Parquet file: it was truncated or is of another kind")
    return _read_at(url, source, length, size - length)


def _parquet(url: str, source: pa.NativeFile, footer: bytes, verify: bool, ahead: int = 0) -> pq.ParquetFile:
    """ahead: bytes that are read at once; 0 for all of a column in a row group, as remote storage wants it."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(_MAGIC + footer))
        return pq.ParquetFile(
            source, metadata=metadata, buffer_size=ahead, pre_buffer=not ahead, page_checksum_verification=verify
        )
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{url} has a damaged footer: {error}") from error


def _size(url: str, source: pa.NativeFile) -> int:
    try:
        return source.size()
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {url}: {error}") from error


def _read_at(url: str, source: pa.NativeFile, count: int, offset: int) -> bytes:
    try:
        return source.read_at(count, offset)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"cannot read {url}: {error}") from error
