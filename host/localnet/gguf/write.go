package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// The file format (inference.md section 13): version 3, little-endian.
const (
	magic     = "GGUF"
	version   = 3
	alignment = 32

	typeUint32  uint32 = 4
	typeInt32   uint32 = 5
	typeFloat32 uint32 = 6
	typeBool    uint32 = 7
	typeString  uint32 = 8
	typeArray   uint32 = 9

	// tensorFloat32 is the only element type that is written.
	tensorFloat32 uint32 = 0
)

// pair is an entry of the header.
type pair struct {
	key   string
	value any // uint32, float32, bool, string, or a slice of string, float32 or int32
}

// header is what engines read before the weights.
func (m *Model) header() []pair {
	wide, v := uint32(m.width()), m.vocabulary                                                                //nolint:gosec // a vocabulary's size
	heads, blocks, length, forward := uint32(m.Heads), uint32(m.Blocks), uint32(m.Context), uint32(m.Forward) //nolint:gosec // small
	number := func(token string) uint32 { return uint32(v.number[token]) }                                    //nolint:gosec // below the vocabulary's size
	const epsilon = 1e-6
	return []pair{
		{"general.architecture", "llama"},
		{"general.name", m.Name},
		{"general.file_type", uint32(0)},
		{"llama.context_length", length},
		{"llama.embedding_length", wide},
		{"llama.block_count", blocks},
		{"llama.feed_forward_length", forward},
		{"llama.attention.head_count", heads},
		{"llama.attention.head_count_kv", heads},
		{"llama.attention.layer_norm_rms_epsilon", float32(epsilon)},
		{"llama.rope.dimension_count", wide / heads},
		{"llama.vocab_size", uint32(len(v.tokens))}, //nolint:gosec // small
		{"tokenizer.ggml.model", "llama"},
		{"tokenizer.ggml.tokens", v.tokens},
		{"tokenizer.ggml.scores", v.scores},
		{"tokenizer.ggml.token_type", v.kinds},
		{"tokenizer.ggml.bos_token_id", number("<s>")},
		{"tokenizer.ggml.eos_token_id", number(endOfText)},
		{"tokenizer.ggml.unknown_token_id", number("<unk>")},
		{"tokenizer.ggml.add_bos_token", false},
		{"tokenizer.ggml.add_space_prefix", false},
		{"tokenizer.chat_template", m.Template},
	}
}

// WriteTo writes the file.
func (m *Model) WriteTo(w io.Writer) (int64, error) {
	tensors, pairs := m.tensors(), m.header()
	var b encoder
	b.put([]byte(magic), uint32(version), uint64(len(tensors)), uint64(len(pairs)))
	for _, p := range pairs {
		b.text(p.key)
		if err := b.value(p.value); err != nil {
			return 0, fmt.Errorf("writing %s: %w", p.key, err)
		}
	}
	at := 0
	for i := range tensors {
		t := &tensors[i]
		b.text(t.name)
		b.put(uint32(len(t.dims)), t.dims, tensorFloat32, uint64(at)) //nolint:gosec // at most two; offsets are positive
		at = align(at + 4*t.elements())
	}
	b.pad()
	written, err := b.WriteTo(w)
	for i := range tensors {
		if err != nil {
			break
		}
		data := make([]float32, tensors[i].elements())
		tensors[i].fill(data)
		b.put(data)
		b.pad()
		var n int64
		n, err = b.WriteTo(w)
		written += n
	}
	if err != nil {
		return written, fmt.Errorf("writing model: %w", err)
	}
	return written, nil
}

func align(n int) int { return (n + alignment - 1) / alignment * alignment }

// encoder writes the format's values. What precedes it in the file is a multiple of the alignment.
type encoder struct{ bytes.Buffer }

func (e *encoder) put(values ...any) {
	for _, v := range values {
		_ = binary.Write(&e.Buffer, binary.LittleEndian, v) // fixed sizes into memory
	}
}

func (e *encoder) text(s string) {
	e.put(uint64(len(s)), []byte(s))
}

func (e *encoder) pad() { _, _ = e.Write(make([]byte, align(e.Len())-e.Len())) } // into memory

func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case uint32:
		e.put(typeUint32, v)
	case float32:
		e.put(typeFloat32, v)
	case bool:
		e.put(typeBool, v)
	case string:
		e.put(typeString)
		e.text(v)
	case []string:
		e.put(typeArray, typeString, uint64(len(v)))
		for _, s := range v {
			e.text(s)
		}
	case []float32:
		e.put(typeArray, typeFloat32, uint64(len(v)), v)
	case []int32:
		e.put(typeArray, typeInt32, uint64(len(v)), v)
	default:
		return fmt.Errorf("a value of type %T", v)
	}
	return nil
}
