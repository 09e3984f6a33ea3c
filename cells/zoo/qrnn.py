"""Quasi-recurrent network: a convolution over the last k inputs makes gates, a gated average pools them."""

from .. import Array, Arrays, GatedCell, Shapes, State, check_sizes, linear, sigmoid, tanh


class QRNN(GatedCell):
    """c_t = f c_{t-1} + (1 - f) z, output o c_t; z, f, o from x_{t-k+1} ... x_t.

    (Bradbury et al. 2017, arXiv 1611.01576)

    fo-pooling; no zoneout, no dense connections. The window is kept as states, so that a sequence may go on:
    f1 is what earlier inputs add to the next step's f, f2 what they add to the one after. Blocks of
    weight_ih: z, f, o of x_t, then what x_t gives to z, f, o one step later, and so on. bias_ih is z's, f's
    and o's, once. Because f sees a state when k > 1, the joint state is affine in the one before only when k
    = 1; c alone is, given the inputs.
    """

    recurrent_gates = ()
    keep_gate = "f"
    k: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(k=self.k)

    @property
    def gates(self) -> tuple[str, ...]:  # type: ignore[override]  # they follow from k
        return ("z", "f", "o", *self.delayed)

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("c", *self.delayed)

    @property
    def delayed(self) -> tuple[str, ...]:
        """The gates' shares of later steps: z1, f1, o1 of the next, z2 ... of the one after, up to k - 1."""
        return tuple(f"{gate}{lag}" for lag in range(1, self.k) for gate in "zfo")

    def shapes(self, input_size: int, hidden_size: int) -> Shapes:
        bias: Shapes = {"bias_ih": (3 * hidden_size,)} if self.biases else {}
        return {"weight_ih": (3 * self.k * hidden_size, input_size), **bias}

    def project(self, params: Arrays, x: Array) -> State:
        weight, bias = params["weight_ih"], params.get("bias_ih")
        units = weight.shape[0] // len(self.gates)
        gates = {}
        for n, gate in enumerate(self.gates):
            rows = slice(n * units, (n + 1) * units)
            gates[gate] = linear(x, weight[rows], bias[rows] if bias is not None and n < 3 else None)
        return State(**gates)

    def equations(self, wx: State, wh: State, prev: State) -> tuple[Array, State]:
        # the sum of what this input gives to a gate `lag` steps later, and of what earlier ones did
        total = {g: getattr(wx, g) for g in self.gates}
        for lag in range(1, self.k):
            for gate in "zfo":
                now = gate if lag == 1 else f"{gate}{lag - 1}"
                total[now] = total[now] + getattr(prev, f"{gate}{lag}")
        z, f, o = tanh(total["z"]), sigmoid(total["f"]), sigmoid(total["o"])
        c = f * prev.c + (1 - f) * z
        return o * c, State(c=c, **{name: total[name] for name in self.delayed})
