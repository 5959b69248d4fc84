"""The layer type ChannelGate, for decaffeinate: y = x * gate(w * x + shift), one w a channel."""

import numpy as np

from decaffeinate.plugins import CustomLayer, LayerShapes, ParamShape, layer, ops


@layer("ChannelGate", bottoms=(1, 1), tops=(1, 1))
class ChannelGate(CustomLayer):
    """Lets each value through as far as a gate is open, which the value itself opens."""

    def setup(self):
        """channel_gate_param { shift, mode: SOFT or HARD, weight_filler }."""
        param = self.fields.message("channel_gate_param")
        self.shift = param.number("shift", default=0.5)
        self.mode = param.choice("mode", ["SOFT", "HARD"], default="SOFT")
        self.filler = param.filler("weight_filler", default=1.0)

    def shapes(self, bottoms):
        """The top is as the bottom; one parameter, with a value a channel."""
        x = bottoms[0]
        weight = ParamShape("weight", (x[1],), self.filler)
        return LayerShapes(tops=(x,), params=(weight,), macs=2 * int(np.prod(x)))

    def lower(self, step):
        """The layer in ops that every target has; the parameter is used as it is stored."""
        x = step.inputs[0]
        per_channel = (1, x.shape[1], *[1] * (len(x.shape) - 2))
        weight = step.reshape(step.params[0], per_channel)
        gate = step.affine(step.add(ops.Mul(), x, weight), shift=self.shift)
        gate = step.add(ops.Sigmoid() if self.mode == "SOFT" else ops.Clamp(0.0, 1.0), gate)
        return step.add(ops.Mul(), x, gate)

    def reference(self, bottoms, params):
        """What the fork's own code computes, channel by channel."""
        x, w = bottoms[0], params[0]
        y = np.empty_like(x)
        for c in range(x.shape[1]):
            gate = w[c] * x[:, c] + self.shift
            if self.mode == "SOFT":
                gate = 1 / (1 + np.exp(-gate))
            else:
                gate = np.minimum(np.maximum(gate, 0), 1)
            y[:, c] = x[:, c] * gate
        return y
