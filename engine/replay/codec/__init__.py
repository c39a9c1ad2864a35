"""Codecs: an image becomes few bytes. One small interface, one codec per file format."""

from everface.engine.replay.codec.base import Codec, CodecChoice, codec, codec_label, codec_names, decode, encode

__all__ = ["Codec", "CodecChoice", "codec", "codec_label", "codec_names", "decode", "encode"]
