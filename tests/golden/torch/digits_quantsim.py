"""digits with 17 quantizers, written by qsimc.

With its weights and encodings it is

    Digits.load("digits.safetensors")

Before its quantizers are calibrated they pass values on.
"""

import torch.nn.functional as F
from qsimc_torch.runtime import FakeQuantize, Simulation
from torch import Tensor


class Digits(Simulation):
    inputs = ("image",)
    outputs = ("logits",)

    def __init__(self) -> None:
        super().__init__()
        self.add_parameter("stem.weight", 48, 1, 3, 3)
        self.add_parameter("stem.bias", 48)
        self.add_parameter("block1.depthwise.weight", 48, 1, 3, 3)
        self.add_parameter("block1.depthwise.bias", 48)
        self.add_parameter("block1.pointwise.weight", 48, 48, 1, 1)
        self.add_parameter("block1.pointwise.bias", 48)
        self.add_parameter("block2.depthwise.weight", 48, 1, 3, 3)
        self.add_parameter("block2.depthwise.bias", 48)
        self.add_parameter("block2.pointwise.weight", 48, 48, 1, 1)
        self.add_parameter("block2.pointwise.bias", 48)
        self.add_parameter("hidden.weight", 96, 192)
        self.add_parameter("hidden.bias", 96)
        self.add_parameter("classify.weight", 10, 96)
        self.add_parameter("classify.bias", 10)
        self.q_image = FakeQuantize("image", qmin=0, qmax=255)  # model[input]: on (config.json:25)
        # *[param]: on (config.json:8)
        self.q_stem_weight = FakeQuantize("stem.weight", qmin=-128, qmax=127, axis=0, channels=48, symmetric=True)
        self.q_relu = FakeQuantize("relu", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        # *[param]: on (config.json:8)
        self.q_block1_depthwise_weight = FakeQuantize(
            "block1.depthwise.weight", qmin=-128, qmax=127, axis=0, channels=48, symmetric=True
        )
        self.q_conv2d_1 = FakeQuantize("conv2d_1", "relu_1", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        # *[param]: on (config.json:8)
        self.q_block1_pointwise_weight = FakeQuantize(
            "block1.pointwise.weight", qmin=-128, qmax=127, axis=0, channels=48, symmetric=True
        )
        self.q_conv2d_2 = FakeQuantize("conv2d_2", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        self.q_relu_2 = FakeQuantize("relu_2", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        # *[param]: on (config.json:8)
        self.q_block2_depthwise_weight = FakeQuantize(
            "block2.depthwise.weight", qmin=-128, qmax=127, axis=0, channels=48, symmetric=True
        )
        self.q_conv2d_3 = FakeQuantize("conv2d_3", "relu_3", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        # *[param]: on (config.json:8)
        self.q_block2_pointwise_weight = FakeQuantize(
            "block2.pointwise.weight", qmin=-128, qmax=127, axis=0, channels=48, symmetric=True
        )
        self.q_conv2d_4 = FakeQuantize("conv2d_4", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        self.q_relu_4 = FakeQuantize("relu_4", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        # *[param]: on (config.json:8)
        self.q_hidden_weight = FakeQuantize("hidden.weight", qmin=-128, qmax=127, axis=0, channels=96, symmetric=True)
        self.q_relu_5 = FakeQuantize("relu_5", qmin=0, qmax=255)  # *[output]: on (config.json:4)
        # *[param]: on (config.json:8)
        self.q_classify_weight = FakeQuantize(
            "classify.weight", qmin=-128, qmax=127, axis=0, channels=10, symmetric=True
        )
        self.q_logits = FakeQuantize("logits", qmin=0, qmax=255)  # *[output]: on (config.json:4)

    def forward(self, image: Tensor) -> Tensor:
        image = self.q_image(image)
        conv2d = F.conv2d(image, self.q_stem_weight(self.stem.weight), self.stem.bias, padding=1)
        relu = self.q_relu(F.relu(conv2d))
        conv2d_1 = self.q_conv2d_1(
            F.conv2d(
                relu,
                self.q_block1_depthwise_weight(self.block1.depthwise.weight),
                self.block1.depthwise.bias,
                padding=1,
                groups=48,
            )
        )
        relu_1 = self.q_conv2d_1(F.relu(conv2d_1))
        conv2d_2 = self.q_conv2d_2(
            F.conv2d(relu_1, self.q_block1_pointwise_weight(self.block1.pointwise.weight), self.block1.pointwise.bias)
        )
        add_25 = relu + conv2d_2
        relu_2 = self.q_relu_2(F.relu(add_25))
        max_pool2d = F.max_pool2d(relu_2, 2)
        conv2d_3 = self.q_conv2d_3(
            F.conv2d(
                max_pool2d,
                self.q_block2_depthwise_weight(self.block2.depthwise.weight),
                self.block2.depthwise.bias,
                padding=1,
                groups=48,
            )
        )
        relu_3 = self.q_conv2d_3(F.relu(conv2d_3))
        conv2d_4 = self.q_conv2d_4(
            F.conv2d(relu_3, self.q_block2_pointwise_weight(self.block2.pointwise.weight), self.block2.pointwise.bias)
        )
        add_56 = max_pool2d + conv2d_4
        relu_4 = self.q_relu_4(F.relu(add_56))
        max_pool2d_1 = F.max_pool2d(relu_4, 2)
        view = max_pool2d_1.reshape(-1, 192)
        linear = F.linear(view, self.q_hidden_weight(self.hidden.weight), self.hidden.bias)
        relu_5 = self.q_relu_5(F.relu(linear))
        logits = self.q_logits(F.linear(relu_5, self.q_classify_weight(self.classify.weight), self.classify.bias))
        return logits
