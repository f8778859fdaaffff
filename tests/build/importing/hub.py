"""Models of the `transformers` package from small configurations, without weights from anywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def tokens(length: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 99, (2, length), generator=torch.Generator().manual_seed(seed))


def bert() -> tuple[nn.Module, Any]:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=37,
        max_position_embeddings=40,
    )  # fmt: skip
    return BertModel(config), {"input_ids": tokens()}


def gpt2() -> tuple[nn.Module, Any]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=99, n_embd=32, n_layer=3, n_head=4, n_positions=40, use_cache=False, bos_token_id=0,
        eos_token_id=1,
    )  # fmt: skip
    return GPT2LMHeadModel(config), {"input_ids": tokens()}


def llama() -> tuple[nn.Module, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=37, max_position_embeddings=40, use_cache=False,
    )  # fmt: skip
    return LlamaForCausalLM(config), {"input_ids": tokens()}


def vit() -> tuple[nn.Module, Any]:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=37, image_size=16,
        patch_size=4,
    )  # fmt: skip
    return ViTModel(config), {"pixel_values": torch.randn(2, 3, 16, 16)}


def t5() -> tuple[nn.Module, Any]:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=99, d_model=32, d_kv=8, d_ff=37, num_layers=3, num_heads=4, use_cache=False,
        decoder_start_token_id=0,
    )  # fmt: skip
    return T5ForConditionalGeneration(config), {
        "input_ids": tokens(),
        "decoder_input_ids": tokens(5, 1),
    }


MODELS = {"bert": bert, "gpt2": gpt2, "llama": llama, "t5": t5, "vit": vit}
