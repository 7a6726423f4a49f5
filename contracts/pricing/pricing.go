// Package pricing turns token counts into the adjusted tokens that both sides of a payment count (protocol.md section
// 6.2).
//
// It owns one formula, bit-compatible with the reference implementation: IEEE double, left to right, truncated, because a
// receipt of ours and one of theirs must show the same number. It trusts its callers to check ranges at the edge, and
// still never returns a negative number. It is pure arithmetic and knows nothing of who pays.
package pricing

import "math"

// ChatAllowance is added to a prompt's length for what the chat template puts around it, in tokens.
const ChatAllowance = 512

// Multipliers scale the four classes of tokens; 10000 is 1.0.
type Multipliers struct{ Prompt, Cached, Completion, Reasoning int64 }

// Tokens counts by class the way engines do: Cached is part of Prompt, Reasoning part of Completion.
type Tokens struct{ Prompt, Cached, Completion, Reasoning int64 }

// Billed is what is paid for, in adjusted tokens by class.
type Billed struct{ Prompt, Cached, Completion, Reasoning int64 }

// Total is the sum that is added to both counters.
func (b Billed) Total() int64 { return b.Prompt + b.Cached + b.Completion + b.Reasoning }

// Adjust is trunc(t * (c*0.001) * m * 0.0001), with c and m in thousandths and ten-thousandths. It does not equal the
// exact integer t*c*m/10^7 everywhere, and must not be changed to it.
func Adjust(tokens, coefficient, multiplier int64) int64 {
	x := float64(tokens) * (float64(coefficient) * 0.001) * float64(multiplier) * 0.0001
	if !(x >= 1) { // negative, less than one, or not a number
		return 0
	}
	if x >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(x)
}

// Bill prices the tokens of one request at a worker's coefficient; 1000 is 1.0. Parts that exceed their wholes are
// lowered first.
func Bill(t Tokens, coefficient int64, m Multipliers) Billed {
	prompt, completion := max(t.Prompt, 0), max(t.Completion, 0)
	cached, reasoning := min(max(t.Cached, 0), prompt), min(max(t.Reasoning, 0), completion)
	return Billed{
		Prompt:     Adjust(prompt-cached, coefficient, m.Prompt),
		Cached:     Adjust(cached, coefficient, m.Cached),
		Completion: Adjust(completion-reasoning, coefficient, m.Completion),
		Reasoning:  Adjust(reasoning, coefficient, m.Reasoning),
	}
}

// Ask is what a request may use.
type Ask struct {
	// QueryBytes is the length of the request as it is sent on.
	QueryBytes int64
	// MaxTokens bounds each of N choices.
	MaxTokens, N int64
	// MaxCoefficient is the dearest worker that the caller accepts.
	MaxCoefficient int64
}

// Reserve is what must be available before a request is sent on: at least the reference implementation's sum, and at
// least what any worker within the limits could bill.
func Reserve(a Ask, m Multipliers) int64 {
	reference := Adjust(a.MaxTokens+a.QueryBytes, a.MaxCoefficient, 10_000)
	prompt := Adjust(a.QueryBytes+ChatAllowance, a.MaxCoefficient, max(m.Prompt, m.Cached))
	answer := Adjust(max(a.N, 1)*a.MaxTokens, a.MaxCoefficient, max(m.Completion, m.Reasoning))
	if prompt > math.MaxInt64-answer {
		return math.MaxInt64
	}
	return max(reference, prompt+answer)
}
