"""The palette: library blocks written in the language, one file a family. They need neither torch nor a
picture.
"""

from nbkit.components.basic import activation as activation
from nbkit.components.basic import embedding as embedding
from nbkit.components.basic import mlp as mlp
from nbkit.components.basic import normalisation as normalisation
from nbkit.components.basic import perceptron as perceptron
from nbkit.components.basic import residual as residual
from nbkit.components.convolution import avg_pool as avg_pool
from nbkit.components.convolution import basic_block as basic_block
from nbkit.components.convolution import conv as conv
from nbkit.components.convolution import depthwise_conv as depthwise_conv
from nbkit.components.convolution import global_average_pool as global_average_pool
from nbkit.components.convolution import max_pool as max_pool
from nbkit.components.convolution import norm_activate as norm_activate
from nbkit.components.convolution import resnet as resnet
from nbkit.components.convolution import resnet_block as resnet_block
from nbkit.components.gallery import catalogue as catalogue
from nbkit.components.gallery import models as models
from nbkit.components.ready import digits_convnet as digits_convnet
from nbkit.components.ready import digits_mlp as digits_mlp
from nbkit.components.ready import grokking_mlp as grokking_mlp
from nbkit.components.ready import grokking_transformer as grokking_transformer
from nbkit.components.ready import spirals_mlp as spirals_mlp
from nbkit.components.transformer import attention as attention
from nbkit.components.transformer import causal_attention as causal_attention
from nbkit.components.transformer import dot_product_attention as dot_product_attention
from nbkit.components.transformer import gpt as gpt
from nbkit.components.transformer import last_position_block as last_position_block
from nbkit.components.transformer import multi_head_attention as multi_head_attention
from nbkit.components.transformer import self_attention as self_attention
from nbkit.components.transformer import transformer_block as transformer_block
