package meter

import (
	"fmt"
	"strconv"

	"cocoon/contracts/api/jsonscan"
)

// maxTokens bounds every number of a usage object (inference.md section 7).
const maxTokens = 1<<31 - 1

// Usage counts tokens the way the OpenAI API does: Cached is part of Prompt, Reasoning part of Completion.
type Usage struct {
	Prompt, Cached, Completion, Reasoning int64
}

// Source says where a usage comes from, best first (inference.md section 7).
type Source string

// The sources of a usage.
const (
	// FromEngine is the engine's final usage.
	FromEngine Source = "engine"
	// FromPartial is the last running usage of a stream that did not end well.
	FromPartial Source = "engine_partial"
	// FromCounting is counted content events: the engine gave no usage.
	FromCounting Source = "counted"
	// FromNothing is for a request that no engine has seen.
	FromNothing Source = "none"
)

// raise keeps the larger of each number.
func (u *Usage) raise(v Usage) {
	u.Prompt, u.Cached = max(u.Prompt, v.Prompt), max(u.Cached, v.Cached)
	u.Completion, u.Reasoning = max(u.Completion, v.Completion), max(u.Reasoning, v.Reasoning)
}

// clamped makes the parts fit into their wholes.
func (u Usage) clamped() Usage {
	u.Cached, u.Reasoning = min(u.Cached, u.Prompt), min(u.Reasoning, u.Completion)
	return u
}

// names are the members of a usage object.
type names struct{ prompt, completion, promptDetails, completionDetails string }

func chatNames() names {
	return names{"prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"}
}

func responseNames() names {
	return names{"input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"}
}

// readUsage reads a usage object. It is valid when its numbers are integers in range and the total, where there is one, is
// their sum; an embedding's usage has no completion.
func readUsage(v jsonscan.Value, n names) (Usage, bool) {
	var u Usage
	var total int64
	var prompted, summed bool
	c := counter{ok: v.Kind() == jsonscan.Object}
	for m := range v.All() {
		switch string(m.Key) {
		case n.prompt:
			u.Prompt, prompted = c.count(m.Value), true
		case n.completion:
			u.Completion = c.count(m.Value)
		case "total_tokens":
			total, summed = c.count(m.Value), true
		case n.promptDetails:
			u.Cached = c.detail(m.Value, "cached_tokens")
		case n.completionDetails:
			u.Reasoning = max(u.Reasoning, c.detail(m.Value, "reasoning_tokens"))
		case "reasoning_tokens": // SGLang has it beside the totals
			u.Reasoning = max(u.Reasoning, c.given(m.Value))
		}
	}
	return u, c.ok && prompted && (!summed || total == u.Prompt+u.Completion)
}

// counter reads counts and remembers whether all of them were valid.
type counter struct{ ok bool }

func (c *counter) count(v jsonscan.Value) int64 {
	k, is := v.Int()
	c.ok = c.ok && is && k >= 0 && k <= maxTokens
	return k
}

// given is a count that may be null.
func (c *counter) given(v jsonscan.Value) int64 {
	if v.Kind() == jsonscan.Null {
		return 0
	}
	return c.count(v)
}

// detail is a count within details, which may be null, or lack it.
func (c *counter) detail(v jsonscan.Value, key string) int64 {
	if d, has := v.Get(key); has {
		return c.given(d)
	}
	return 0
}

// readTimings reads llama-server's running counts: cache_n and prompt_n make the prompt, predicted_n the answer.
func readTimings(v jsonscan.Value) (Usage, bool) {
	var n [3]int64
	for i, key := range []string{"cache_n", "prompt_n", "predicted_n"} {
		m, has := v.Get(key)
		k, ok := m.Int()
		if !has || !ok || k < 0 || k > maxTokens {
			return Usage{}, false
		}
		n[i] = k
	}
	return Usage{Prompt: n[0] + n[1], Cached: n[0], Completion: n[2]}, true
}

// appendUsage writes a usage object.
func appendUsage(dst []byte, u Usage, c *Cost) []byte {
	dst = fmt.Appendf(dst, `{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d`, u.Prompt, u.Completion, u.Prompt+u.Completion)
	if u.Cached > 0 {
		dst = fmt.Appendf(dst, `,"prompt_tokens_details":{"cached_tokens":%d}`, u.Cached)
	}
	if u.Reasoning > 0 {
		dst = fmt.Appendf(dst, `,"completion_tokens_details":{"reasoning_tokens":%d}`, u.Reasoning)
	}
	if c != nil {
		dst = c.append(dst)
	}
	return append(dst, '}')
}

// Cost is what a usage costs, in nanoTON.
type Cost struct{ Prompt, Completion int64 }

// maxCost is the room that the fields of a cost need.
const maxCost = 128

// append writes the reference implementation's fields, as they stand before the closing brace of a usage object.
func (c *Cost) append(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `,"prompt_total_cost":`...), c.Prompt, 10)
	dst = strconv.AppendInt(append(dst, `,"completion_total_cost":`...), c.Completion, 10)
	return strconv.AppendInt(append(dst, `,"total_cost":`...), c.Prompt+c.Completion, 10)
}
