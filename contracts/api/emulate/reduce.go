// Package emulate serves apps through peers of the reference implementation: it reduces a request to what such a peer
// accepts, and makes a stream of events from the whole answer that such a peer gives (inference.md section 6.5).
//
// It owns the two lists of what the generations of the reference accept, and the form of the imitated events. It is used
// by the hop in front of a reference peer, gateway or proxy alike. It trusts no answer: what is neither whole JSON nor rows
// of it, or never says that it is complete, is an error, so that nothing broken looks whole; what is held is bounded by
// the caller. Functions are pure; a Stream belongs to one goroutine. It refuses to leave out what would change an answer,
// and it never re-encodes what it passes on.
package emulate

import (
	"slices"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
)

// Versions of the protocol from which on a peer is of the second generation, and of our making (protocol.md section 1.1).
const (
	versionApr, versionOurs = 3, 5
)

// Peer is the next hop.
type Peer struct {
	// Role is "proxy" or "worker": errors name it.
	Role string
	// Version is the negotiated one, below 5: from 3 on the peer accepts what Apr 2026 does, else what Dec 2025 does.
	Version int32
}

// accepted is one field that some reference peer accepts.
type accepted struct {
	name      string
	endpoints api.Endpoint
	since     int32
	// fits says whether the value has a form that the peer accepts; nil means any.
	fits func(v jsonscan.Value) bool
}

// fields is the table of protocol.md section 6.5, less what is never forwarded.
func fields() [24]accepted {
	const text = api.Chat | api.Completions
	return [...]accepted{
		{name: "model", endpoints: text},
		{name: "messages", endpoints: api.Chat},
		{name: "prompt", endpoints: api.Completions},
		{name: "frequency_penalty", endpoints: text},
		{name: "presence_penalty", endpoints: text},
		{name: "temperature", endpoints: text},
		{name: "top_p", endpoints: text},
		{name: "n", endpoints: text},
		{name: "stop", endpoints: text},
		{name: "max_tokens", endpoints: text},
		{name: "max_completion_tokens", endpoints: api.Chat},
		{name: "reasoning_effort", endpoints: api.Chat},
		{name: "response_format", endpoints: api.Chat},
		{name: "verbosity", endpoints: api.Chat},
		{name: "top_logprobs", endpoints: api.Chat},
		{name: "chat_template_kwargs", endpoints: api.Chat, fits: onlyThinking},
		{name: "echo", endpoints: api.Completions},
		{name: "best_of", endpoints: api.Completions},
		{name: "logprobs", endpoints: api.Chat, since: versionApr},
		{name: "modalities", endpoints: api.Chat, since: versionApr},
		{name: "is_encrypted", endpoints: text, since: versionApr},
		{name: "sender_public_key", endpoints: text, since: versionApr},
		{name: "receiver_public_key", endpoints: text, since: versionApr},
		{name: "encryption_nonce", endpoints: text, since: versionApr},
	}
}

// accepts says whether the peer takes a field. Two fields came to chat later than to completions.
func (p Peer) accepts(ep api.Endpoint, m jsonscan.Member) bool {
	key := string(m.Key)
	if key == "seed" || key == "skip_special_tokens" {
		return ep == api.Completions || p.Version >= versionApr
	}
	for _, f := range fields() {
		if f.name == key {
			return f.endpoints&ep != 0 && p.Version >= f.since && (f.fits == nil || f.fits(m.Value))
		}
	}
	return false
}

// onlyThinking: the one switch of a template that both generations know.
func onlyThinking(v jsonscan.Value) bool {
	for m := range v.All() {
		if string(m.Key) != "enable_thinking" {
			return false
		}
	}
	return true
}

// idle says that a field with this value changes no answer, so that it may be left out.
func idle(req *api.Request, m jsonscan.Member) bool {
	if m.Kind() == jsonscan.Null {
		return true
	}
	still, ok := idleValues(req)[string(m.Key)]
	return ok && still(m.Value)
}

// idleValues say of which fields which values are the same as none.
func idleValues(req *api.Request) map[string]func(v jsonscan.Value) bool {
	type rule = func(v jsonscan.Value) bool
	always := func(jsonscan.Value) bool { return true }
	empty := func(v jsonscan.Value) bool { return v.Kind() == jsonscan.Array && len(v.Elements()) == 0 }
	number := func(still ...float64) rule {
		return func(v jsonscan.Value) bool { n, ok := v.Float(); return ok && slices.Contains(still, n) }
	}
	flag := func(still bool) rule {
		return func(v jsonscan.Value) bool { on, ok := v.Bool(); return ok && on == still }
	}
	choice := func(v jsonscan.Value) bool { s, _ := v.Text(); return s == "none" || s == "auto" && !req.Tools }
	return map[string]rule{
		"stream": always, "stream_options": always, // the hop streams by itself
		"modalities": always, // answers are text only
		"tools":      empty, "functions": empty, "stop_token_ids": empty,
		"tool_choice": choice, "function_call": choice,
		"parallel_tool_calls": func(jsonscan.Value) bool { return !req.Tools },
		"logit_bias":          func(v jsonscan.Value) bool { return v.Kind() == jsonscan.Object && len(v.Members()) == 0 },
		"logprobs":            flag(false), "ignore_eos": flag(false), "echo": flag(false), "skip_special_tokens": flag(true),
		"min_tokens": number(0), "min_p": number(0), "top_logprobs": number(0), "top_k": number(-1, 0), "repetition_penalty": number(1),
	}
}

// Check refuses, with an *api.Error, a request whose answer would be another one if the peer served it.
func Check(req *api.Request, to Peer) error {
	refuse := func(param, why string) error {
		return &api.Error{
			Code: api.UnsupportedParameter, Param: param,
			Message: "the " + to.Role + " that could serve this is of the reference network, which does not take " + why + "; leave it out, or choose another",
		}
	}
	switch {
	case req.Endpoint&(api.Chat|api.Completions) == 0:
		return &api.Error{Code: api.UnknownURL, Message: "the " + to.Role + " that could serve this is of the reference network, which does not have this path"}
	case req.Stream && req.Encrypted:
		return refuse("stream", "this together with encryption")
	}
	for m := range req.Body().All() {
		if !req.Consumes(string(m.Key)) && !to.accepts(req.Endpoint, m) && !idle(req, m) {
			return refuse(string(m.Key), "this parameter or this value of it")
		}
	}
	return nil
}

// Cut takes out of the body that is forwarded what the peer does not accept. The request has passed Check.
func Cut(e *jsonscan.Edit, req *api.Request, to Peer) {
	if req.Endpoint&(api.Chat|api.Completions) == 0 {
		return
	}
	listed, _ := req.Body().Get("logprobs")
	on, _ := listed.Bool()
	for m := range req.Body().All() {
		key := string(m.Key)
		switch {
		case key == "stream" || key == "stream_options" || !to.accepts(req.Endpoint, m):
			e.Cut(key)
		case key == "top_logprobs" && !on || m.Kind() == jsonscan.Null: // means nothing alone
			e.Cut(key)
		case key == "stop" && m.Kind() == jsonscan.String && to.Version >= versionApr: // the second generation takes a list only
			e.Set(key, append(append([]byte{'['}, m.Raw()...), ']'))
		}
	}
}

// Body is the whole body for the peer, or why there is none.
func Body(req *api.Request, to Peer) ([]byte, error) {
	if err := Check(req, to); err != nil {
		return nil, err
	}
	e := req.Forward()
	Cut(e, req, to)
	return e.Bytes(), nil
}

// Needed is the least version of a peer that can serve a request: 0, 3, or 5 when no reference peer can.
func Needed(req *api.Request) int32 {
	for _, v := range []int32{0, versionApr} {
		if Check(req, Peer{Version: v}) == nil {
			return v
		}
	}
	return versionOurs
}
