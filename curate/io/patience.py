"""Requests to object storage: made again while it may help, and told in one clear line when it does not.

A storage library quotes addresses, headers and keys in its messages. Nothing of them is repeated but the name of
the exception, and the service's own code (``SlowDown``), where it is a word.
"""

from __future__ import annotations

import errno
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from curate.errors import CurateError, StorageError

T = TypeVar("T")

TRIES = 8  # of a request; the pauses between them add up to about 10 s, beside those of the storage library itself
FIRST_PAUSE = 0.1  # seconds; doubles from try to try, half of it by chance
_NAMES = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
_OURS = (CurateError, ImportError, MemoryError, NotImplementedError, TypeError)
_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
_PASSING = {408, 409, 425, 429}  # client errors (RFC 9110, 6585) that pass by themselves
_PASSING_CODES = re.compile(
    "SlowDown|RequestTimeout|.*Throttl.*|RequestLimitExceeded|BadDigest|IncompleteBody|XAmzContentSHA256Mismatch"
    "|NoSuchUpload|ConditionalRequestConflict|OperationAborted|InternalError|ServiceUnavailable"
)  # of S3, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_NOT_OF_THE_NAME = {
    "NoSuchBucket",
    "NoSuchUpload",
}  # an upload is gone where the answer that it is complete was lost
_CONDITION = {412, 416}  # a condition or a range that does not hold: an answer, for whoever asked
_NO_KEY = re.compile(
    "NoCredentials|PartialCredentials|CredentialRetrieval|ProfileNotFound|.*Token(Retrieval|Load).*"
)


class ShortError(OSError):
    """Fewer bytes came than were asked for."""


def patiently(request: Callable[[], T], what: str) -> T:
    """Make a request, again and again while it may help. what: the address, as it may be shown.

    Raises as the request does where a name is not there, is there already, or a condition does not hold; StorageError
    where the storage refuses or does not answer.
    """
    for attempt in range(TRIES):
        try:
            return request()
        except Exception as error:
            if _is_answer(error):
                raise
            if refused := _refusal(error, what):
                raise StorageError(refused) from None
            if attempt == TRIES - 1:
                raise StorageError(
                    f"{public(what)}: the object storage failed {TRIES} times ({_told(error)}); nothing finished is "
                    "lost: run again when it answers"
                ) from None
            time.sleep(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0))
    raise AssertionError


def public(url: str) -> str:
    """Return a URL without user and password, and a web address without its query, which may be signed."""
    url = re.sub(r"(?<=://)[^/@\s]+@", "", url)
    return re.sub(r"(https?://[^\s?#]*)[?#]\S*", r"\1", url)


def why(error: BaseException) -> str:
    """Return why a file cannot be read, in words that hold neither record text nor a credential."""
    if isinstance(error, StorageError):
        return str(error).partition(": ")[2].partition(";")[0]
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, ValueError) and str(error).startswith("Protocol not known"):
        return "no storage of this kind is known"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return type(error).__name__


def is_condition(error: BaseException) -> bool:
    """Tell whether the answer is that a condition of the request, or its range, does not hold."""
    return _status(error) in _CONDITION


def code_of(error: BaseException) -> str:
    """Return the service's own word for what is wrong, empty where it gave none."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            return code if re.fullmatch("[A-Za-z][A-Za-z0-9]{2,50}", code) else ""
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    for _ in range(5):
        if at is None:
            return
        yield at
        at = at.__cause__ or at.__context__


def _status(error: BaseException) -> int:
    """Return the HTTP status behind an error, 0 where there is none."""
    for one in _chain(error):
        response = getattr(one, "response", None)
        found: Any = None
        if isinstance(response, dict):  # botocore
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for name in ("status_code", "status", "code"):  # azure, aiohttp and requests, gcsfs
            found = getattr(one, name, None) if found is None else found
        if isinstance(found, int) and 100 <= found < 600:
            return found
    return 0


def _is_answer(error: BaseException) -> bool:
    """Tell whether an error is for whoever asked: a name that is not there, say, or a full disk of this machine."""
    if isinstance(error, _NAMES) and code_of(error) not in _NOT_OF_THE_NAME:
        return True
    here = isinstance(error, OSError) and error.errno in _THIS_MACHINE and not _status(error)
    return here or isinstance(error, _OURS) or is_condition(error)


def _refusal(error: BaseException, what: str) -> str | None:
    """Return what to tell of an error that trying again does not mend, None for another."""
    status, code = _status(error), code_of(error)
    if code == "NoSuchBucket":
        return _no_bucket(what)
    if any(_NO_KEY.match(type(one).__name__) for one in _chain(error)):
        return (
            f"{public(what)}: there are no credentials for {_bucket(what)} ({type(error).__name__}); put them into the "
            "environment (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), never into an address"
        )
    if type(error) is ValueError and str(error).startswith("Invalid endpoint"):  # of botocore
        return f"{public(what)}: the endpoint in the environment is no address (AWS_ENDPOINT_URL); correct it"
    if any(type(one).__name__ == "ParamValidationError" for one in _chain(error)):
        return f"{public(what)}: is no address that this storage can have; correct it"
    # A 400 in which the service does not say what is wrong is a proxy's, or of a connection that was cut before.
    if _PASSING_CODES.fullmatch(code) or status in _PASSING or (status == 400 and not code):
        return None
    if status in (401, 403) or isinstance(error, PermissionError):
        return (
            f"{public(what)}: the object storage refuses ({code or status or 'permission denied'}); check the "
            f"credentials in the environment, and that they may list, read, write and delete in {_bucket(what)}"
        )
    if 400 <= status < 500:
        return (
            f"{public(what)}: the object storage cannot do this ({code or status}); check the address, the region "
            "and the endpoint"
        )
    return None


def _no_bucket(what: str) -> str:
    return f"{public(what)}: there is no {_bucket(what)}; make it, or correct the address"


def _bucket(what: str) -> str:
    return f"bucket {public(what).partition('://')[2].partition('/')[0]!r}"


def _told(error: BaseException) -> str:
    return code_of(error) or str(_status(error) or type(error).__name__)
