"""Let many threads use one compiled network at once. No torch here."""
from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest


class RequestPool:
    """The infer requests of a compiled network, one for each call: a request that is asked twice at once raises.

    There are never more than the device works on at once (`OPTIMAL_NUMBER_OF_INFER_REQUESTS`: 1 for the hint `latency`), so
    memory does not grow with the number of threads; further calls wait. Requests are made when they are first wanted.
    """

    def __init__(self, network: CompiledModel) -> None:
        self._network, self._idle = network, []
        self._room = threading.BoundedSemaphore(network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def infer(self, batch: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the network's first output for one input array, a copy of its own, and the milliseconds that it took;
        waiting for a request is left out."""
        with self._room:
            try:
                request: InferRequest = self._idle.pop()
            except IndexError:
                request = self._network.create_infer_request()
            begin = time.perf_counter()
            try:
                return request.infer([batch], share_inputs=True)[0], 1000 * (time.perf_counter() - begin)
            finally:
                self._idle.append(request)
