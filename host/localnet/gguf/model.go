package gguf

import (
	"fmt"
	"math"
	"slices"
)

// certain is the logit of the scripted successor; all others have none, so sampling at any usual temperature follows it.
const certain = 20

// Model is a model of the llama architecture.
type Model struct {
	Name, Template string
	// Heads, Blocks, Context and Forward are the hyperparameters; the embedding is as wide as the vocabulary.
	Heads, Blocks, Context, Forward int

	vocabulary *vocabulary
	next       map[int]int
}

// width is the embedding's: one dimension for each token, rounded up so that heads and quantised blocks fit.
func (m *Model) width() int {
	const round = 32
	return (len(m.vocabulary.tokens) + round - 1) / round * round
}

// tensor is a matrix of float32, its dimensions fastest first.
type tensor struct {
	name string
	dims []uint64
	// fill sets the elements that are not zero.
	fill func(data []float32)
}

func (t *tensor) elements() int {
	n := uint64(1)
	for _, d := range t.dims {
		n *= d
	}
	return int(n)
}

// tensors are the weights. An embedding has a one in the token's own dimension, blocks add zero to it, and the last matrix
// maps that dimension to the successor's logit: normalising has scaled the one by the root of the width.
func (m *Model) tensors() []tensor {
	wide, forward, words := uint64(m.width()), uint64(m.Forward), uint64(len(m.vocabulary.tokens)) //nolint:gosec // lengths
	ones := func(data []float32) {
		for i := range data {
			data[i] = 1
		}
	}
	zeros := func([]float32) {}
	block := func(b int) []tensor {
		out := []tensor{
			{"attn_norm", []uint64{wide}, ones},
			{"attn_q", []uint64{wide, wide}, zeros},
			{"attn_k", []uint64{wide, wide}, zeros},
			{"attn_v", []uint64{wide, wide}, zeros},
			{"attn_output", []uint64{wide, wide}, zeros},
			{"ffn_norm", []uint64{wide}, ones},
			{"ffn_gate", []uint64{wide, forward}, zeros},
			{"ffn_down", []uint64{forward, wide}, zeros},
			{"ffn_up", []uint64{wide, forward}, zeros},
		}
		for i := range out {
			out[i].name = fmt.Sprintf("blk.%d.%s.weight", b, out[i].name)
		}
		return out
	}
	out := slices.Grow([]tensor{
		{"token_embd.weight", []uint64{wide, words}, func(data []float32) {
			for i := range m.vocabulary.tokens {
				data[i*m.width()+i] = 1
			}
		}},
		{"output_norm.weight", []uint64{wide}, ones},
		{"output.weight", []uint64{wide, words}, m.successors},
	}, m.Blocks*len(block(0)))
	for b := range m.Blocks {
		out = append(out, block(b)...)
	}
	return out
}

// successors fills the matrix of logits. What has no successor ends the text.
func (m *Model) successors(data []float32) {
	logit := float32(certain / math.Sqrt(float64(m.width())))
	for from := range m.vocabulary.tokens {
		to, scripted := m.next[from]
		if !scripted {
			to = m.vocabulary.number[endOfText]
		}
		data[to*m.width()+from] = logit
	}
}
