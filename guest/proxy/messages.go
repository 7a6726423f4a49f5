package proxy

import (
	"cocoon/contracts/pricing"
	"cocoon/contracts/wire/tl"
)

// final is what the last message of an answer carries.
type final struct {
	tokens                  tl.TokensUsed
	debug                   bool
	workerDebug, proxyDebug string
	// times are Unix seconds: the proxy's start and end, the worker's start and end.
	times [4]float64
}

// info is the final's form in Ex messages, which shares its memory.
func (f *final) info(version int32) *tl.ClientQueryFinalInfo {
	if f == nil {
		return nil
	}
	out := &tl.ClientQueryFinalInfo{TokensUsed: f.tokens}
	if f.debug {
		out.WorkerDebug, out.ProxyDebug = &f.workerDebug, &f.proxyDebug
	}
	if version >= versionTimes {
		out.ProxyStartTime, out.ProxyEndTime = &f.times[0], &f.times[1]
		out.WorkerStartTime, out.WorkerEndTime = &f.times[2], &f.times[3]
	}
	return out
}

func (f *final) used() (t tl.TokensUsed) {
	if f != nil {
		t = f.tokens
	}
	return t
}

// headMessage begins an answer, and ends it when fin is set. Clients get Ex forms from version 1 on, always.
func headMessage(version int32, id [32]byte, response []byte, fin *final) tl.Object {
	if version < versionEx {
		return &tl.ClientQueryAnswer{Answer: response, IsCompleted: fin != nil, RequestID: id, RequestTokensUsed: fin.used()}
	}
	return &tl.ClientQueryAnswerEx{RequestID: id, Answer: response, FinalInfo: fin.info(version)}
}

// partMessage goes on with an answer, and ends it when fin is set.
func partMessage(version int32, id [32]byte, body []byte, fin *final) tl.Object {
	if version < versionEx {
		return &tl.ClientQueryAnswerPart{Answer: body, IsCompleted: fin != nil, RequestID: id, RequestTokensUsed: fin.used()}
	}
	return &tl.ClientQueryAnswerPartEx{RequestID: id, Answer: body, FinalInfo: fin.info(version)}
}

// errorMessage ends a request without an answer, or one whose answer has begun.
func errorMessage(version int32, id [32]byte, begun bool, err error, fin final) tl.Object {
	code, text := wireError(err)
	switch {
	case version >= versionEx:
		return &tl.ClientQueryAnswerErrorEx{RequestID: id, ErrorCode: code, Error: text, FinalInfo: fin.info(version)}
	case begun:
		return &tl.ClientQueryAnswerPartError{ErrorCode: code, Error: text, RequestID: id, RequestTokensUsed: fin.tokens}
	default:
		return &tl.ClientQueryAnswerError{ErrorCode: code, Error: text, RequestID: id, RequestTokensUsed: fin.tokens}
	}
}

// tokensFor is a count as a peer of that version reads it: ours inclusive and as counted, others by class and adjusted,
// as the reference implementation sends them (protocol.md section 6.3).
func tokensFor(version int32, t pricing.Tokens, b pricing.Billed) tl.TokensUsed {
	if version >= versionOurs {
		return tl.TokensUsed{
			PromptTokensUsed: t.Prompt, CachedTokensUsed: t.Cached, CompletionTokensUsed: t.Completion,
			ReasoningTokensUsed: t.Reasoning, TotalTokensUsed: t.Prompt + t.Completion,
		}
	}
	return tl.TokensUsed{
		PromptTokensUsed: b.Prompt, CachedTokensUsed: b.Cached, CompletionTokensUsed: b.Completion,
		ReasoningTokensUsed: b.Reasoning, TotalTokensUsed: b.Total(),
	}
}

// maxCount is the most tokens of one class that a worker may report (inference.md section 7).
const maxCount = 1<<31 - 1

// counted reads what a worker of that version reports. Nothing it says is negative afterwards, or more than the whole
// that it is a part of; lied says that something had to be changed.
func counted(version int32, u tl.TokensUsed, coefficient int64, m pricing.Multipliers) (t pricing.Tokens, lied bool) {
	clamp := func(n, most int64) int64 {
		if n < 0 || n > most {
			lied = true
		}
		return min(max(n, 0), most)
	}
	if version >= versionOurs {
		t.Prompt, t.Completion = clamp(u.PromptTokensUsed, maxCount), clamp(u.CompletionTokensUsed, maxCount)
		t.Cached, t.Reasoning = clamp(u.CachedTokensUsed, t.Prompt), clamp(u.ReasoningTokensUsed, t.Completion)
		return t, lied
	}
	t.Cached = plainCount(clamp(u.CachedTokensUsed, maxCount), coefficient, m.Cached)
	t.Prompt = t.Cached + plainCount(clamp(u.PromptTokensUsed, maxCount), coefficient, m.Prompt)
	t.Reasoning = plainCount(clamp(u.ReasoningTokensUsed, maxCount), coefficient, m.Reasoning)
	t.Completion = t.Reasoning + plainCount(clamp(u.CompletionTokensUsed, maxCount), coefficient, m.Completion)
	return t, lied
}

// plainCount finds the tokens that adjust to a number: the fewest that give at least as much. For what was adjusted by
// the same formula it bills the very number again.
func plainCount(adjusted, coefficient, multiplier int64) int64 {
	if adjusted == 0 || pricing.Adjust(maxCount, coefficient, multiplier) < adjusted {
		return 0
	}
	low, high := int64(0), int64(maxCount)
	for low < high {
		if mid := (low + high) / 2; pricing.Adjust(mid, coefficient, multiplier) >= adjusted {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}
