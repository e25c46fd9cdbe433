"""NVFlare's own HE classes, unmodified: its builder's context, its filters, FOBS, and its aggregator."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.he.sides.peers import quiet
from benchmarks.he.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from benchmarks.he.play import Round

__all__ = ["Flare"]


class Flare:
    """A round of NVFlare's: CKKS, N = 8192, [60, 40, 40], symmetric, one vector for each tensor.

    Every client holds the secret key. Weights are equal, so that no ciphertext is multiplied before the
    end, which is NVFlare's own advice; lists that its filter decrypts to count as they are.
    """

    def __init__(self, what: Round) -> None:
        import tenseal  # noqa: PLC0415 - a peer's
        from nvflare.apis.event_type import EventType  # noqa: PLC0415 - a peer, loaded when it is there
        from nvflare.app_opt.he.intime_accumulate_model_aggregator import (  # noqa: PLC0415 - a peer
            HEInTimeAccumulateWeightedAggregator,
        )
        from nvflare.lighter.impl.he import HEBuilder  # noqa: PLC0415 - a peer

        self.stages = Stages()
        self._layers = what.layers
        builder = HEBuilder()
        builder.initialize(None, None)
        self._context = tenseal.context_from(builder.get_serialized_context(is_client=True))
        self.context_bytes = len(builder.get_serialized_context(is_client=False))
        with _silent():
            self._aggregator = HEInTimeAccumulateWeightedAggregator(weigh_by_local_iter=False)
            self._aggregator.handle_event(EventType.START_RUN, _fl_context("server"))
        self._vector_context: int | None = None

    def send(self, client: int, values: NDArray[np.float32]) -> list[bytes]:
        """Its encrypting filter, then FOBS."""
        from nvflare.apis.dxo import DXO, DataKind, MetaKey  # noqa: PLC0415 - a peer
        from nvflare.apis.shareable import Shareable  # noqa: PLC0415 - a peer
        from nvflare.app_opt.he.model_encryptor import HEModelEncryptor  # noqa: PLC0415 - a peer
        from nvflare.fuel.utils import fobs  # noqa: PLC0415 - a peer

        context = _fl_context(_site(client))
        update = DXO(
            DataKind.WEIGHT_DIFF,
            data=self._tensors(values),
            meta={MetaKey.NUM_STEPS_CURRENT_ROUND: 1},
        )
        with _silent():
            encryptor = HEModelEncryptor(weigh_by_local_iter=False)
            encryptor.tenseal_context = self._context
            encryptor.encrypt_layers = [True]  # as its own START_RUN handler sets it
            with self.stages.call("client"):
                with self.stages.stage("encrypt"):
                    encrypted = encryptor.process_dxo(update, Shareable(), context)
                with self.stages.stage("serialise"):
                    upload = fobs.dumps(encrypted.to_shareable())
        if self._vector_context is None:  # each tensor carries its context
            self._vector_context = len(next(iter(encrypted.data.values())).context().serialize())
        return [upload]

    def receive(self, client: int, upload: list[bytes]) -> None:
        """FOBS, then its aggregator."""
        from nvflare.apis.fl_constant import ReservedKey  # noqa: PLC0415 - a peer
        from nvflare.app_common.app_constant import AppConstants  # noqa: PLC0415 - a peer
        from nvflare.fuel.utils import fobs  # noqa: PLC0415 - a peer

        context = _fl_context(_site(client))
        with _silent(), self.stages.call("server"):
            with self.stages.stage("parse"):
                shareable = fobs.loads(upload[0])
            shareable.set_peer_props({ReservedKey.IDENTITY_NAME: _site(client)})
            shareable.add_cookie(AppConstants.CONTRIBUTION_ROUND, 0)
            with self.stages.stage("add"):
                accepted = self._aggregator.accept(shareable, context)
        if not accepted:
            raise RuntimeError("NVFlare's aggregator refused an upload")

    def result(self) -> list[bytes]:
        """The mean, still encrypted, by FOBS."""
        from nvflare.fuel.utils import fobs  # noqa: PLC0415 - a peer

        with _silent(), self.stages.call("result"):
            with self.stages.stage("add"):
                mean = self._aggregator.aggregate(_fl_context("server"))
            with self.stages.stage("serialise"):
                return [fobs.dumps(mean)]

    def open(self, download: list[bytes]) -> NDArray[np.float64]:
        """FOBS, then its decrypting filter at a client."""
        from nvflare.apis.dxo import MetaKey, from_shareable  # noqa: PLC0415 - a peer
        from nvflare.apis.shareable import Shareable  # noqa: PLC0415 - a peer
        from nvflare.app_opt.he.constant import HE_ALGORITHM_CKKS  # noqa: PLC0415 - a peer
        from nvflare.app_opt.he.model_decryptor import HEModelDecryptor  # noqa: PLC0415 - a peer
        from nvflare.fuel.utils import fobs  # noqa: PLC0415 - a peer

        with _silent():
            decryptor = HEModelDecryptor()
            decryptor.tenseal_context = self._context
            with self.stages.call("opening"):
                with self.stages.stage("parse"):
                    dxo = from_shareable(fobs.loads(download[0]))
                # its controller says so on the way, which is not part of this round
                dxo.set_meta_prop(MetaKey.PROCESSED_ALGORITHM, HE_ALGORITHM_CKKS)
                with self.stages.stage("decrypt"):
                    opened = decryptor.process_dxo(dxo, Shareable(), _fl_context(_site(0)))
        return np.concatenate([np.asarray(opened.data[name]) for name in self._names()])

    def split(self, upload: list[bytes], download: list[bytes]) -> dict[str, dict[str, float]]:
        """The context that travels with each tensor, and the rest."""
        contexts = (self._vector_context or 0) * len(self._layers)
        up, down = len(upload[0]), len(download[0])
        return {
            "upload": {"body": up - contexts, "contexts": contexts},
            "download": {"body": down - contexts, "contexts": contexts},
        }

    def difference(self) -> int | None:
        """None: floats."""
        return None

    def _names(self) -> list[str]:
        return [f"tensor{index}" for index in range(len(self._layers))]

    def _tensors(self, values: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        ends = np.cumsum(self._layers)[:-1]
        return dict(zip(self._names(), np.split(values, ends), strict=True))


def _site(client: int) -> str:
    return f"site-{client}"


def _fl_context(site: str) -> Any:  # noqa: ANN401 - NVFlare's
    from nvflare.apis.fl_constant import FLContextKey, ReservedKey  # noqa: PLC0415 - a peer
    from nvflare.apis.fl_context import FLContext  # noqa: PLC0415 - a peer
    from nvflare.app_common.app_constant import AppConstants  # noqa: PLC0415 - a peer

    context, peer = FLContext(), FLContext()
    context.set_prop(FLContextKey.CURRENT_RUN, "job", private=False, sticky=False)
    peer.put(ReservedKey.IDENTITY_NAME, site, private=False, sticky=False)
    context.set_peer_context(peer)
    context.set_prop(AppConstants.CURRENT_ROUND, 0, private=True, sticky=False)
    return context


@contextlib.contextmanager
def _silent() -> Generator[None]:
    """Without NVFlare's log and TenSEAL's warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with quiet():
            yield
    finally:
        logging.disable(before)
