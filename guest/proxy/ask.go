package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/emulate"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/pricing"
	"cocoon/contracts/wire"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/sched"
)

const (
	maxHeaders = 64
	headerID   = "X-Cocoon-Request-Id"
)

// ask is a request as a client's message puts it. No number in it is used before check.
type ask struct {
	id                        [32]byte
	model                     string
	query                     []byte
	maxCoefficient, maxTokens int32
	timeout                   float64
	minConfig                 int32
	debug                     bool
	key                       *[32]byte
}

func askOf(m tl.Object) ask {
	switch m := m.(type) {
	case *tl.ClientRunQuery:
		return ask{
			id: m.RequestID, model: m.ModelName, query: m.Query, maxCoefficient: m.MaxCoefficient, maxTokens: m.MaxTokens,
			timeout: m.Timeout, minConfig: m.MinConfigVersion, debug: true,
		}
	case *tl.ClientRunQueryEx:
		a := ask{
			id: m.RequestID, model: m.ModelName, query: m.Query, maxCoefficient: m.MaxCoefficient, maxTokens: m.MaxTokens,
			timeout: m.Timeout, minConfig: m.MinConfigVersion, debug: m.EnableDebug != nil && *m.EnableDebug,
		}
		if m.PublicKey != nil && *m.PublicKey != [32]byte{} {
			a.key = m.PublicKey
		}
		return a
	}
	return ask{}
}

// check bounds every number (protocol.md decision 5).
func (a *ask) check(maxTokens int32) error {
	switch {
	case a.maxTokens < 1 || a.maxTokens > maxTokens:
		return violation("max_tokens %d is not from 1 to %d", a.maxTokens, maxTokens)
	case a.maxCoefficient < 1 || a.maxCoefficient >= coefficientLimit:
		return violation("max_coefficient %d is not from 1 to %d", a.maxCoefficient, coefficientLimit-1)
	case math.IsNaN(a.timeout) || math.IsInf(a.timeout, 0) || a.timeout <= 0:
		return violation("timeout is not above 0")
	case a.minConfig < 0:
		return violation("min_config_version %d is negative", a.minConfig)
	case a.model == "" || len(a.model) > maxModelName:
		return violation("model_name has %d bytes, not from 1 to %d", len(a.model), maxModelName)
	}
	return nil
}

// within is the time that the request may take; what is above the cap is cut to it.
func (a *ask) within(limit time.Duration) time.Duration {
	if a.timeout >= limit.Seconds() {
		return limit
	}
	return time.Duration(a.timeout * float64(time.Second))
}

// job is a request that may be served: decoded, allowed, and ready to be forwarded.
type job struct {
	path, contentType string
	body              []byte
	// in is nil for a form, whose prompt may be estimated at sound tokens; at none where only the worker can read it.
	in    *api.Request
	sound int64
	// maxTokens bounds each choice; choices is their number.
	maxTokens, choices int64
	stream             bool
	private            *[32]byte
}

// refusedError is a request that the field policy refuses: its answer is a whole response with the error in its body.
type refusedError struct{ why *api.Error }

func (e refusedError) Error() string { return e.why.Error() }

// read decodes the inner request and applies the field policy.
func (p *Proxy) read(ctx context.Context, a *ask) (*job, error) {
	v, err := tl.View(a.query)
	if err != nil {
		return nil, &session.QueryError{Code: session.CodeParse, Message: "query is no http.request: " + err.Error()}
	}
	h, ok := v.(*tl.HTTPRequest)
	switch {
	case !ok:
		return nil, violation("query is %s, not http.request", v.TLName())
	case h.Method != http.MethodPost:
		return nil, violation("method is not POST")
	case len(h.Headers) > maxHeaders:
		return nil, violation("query has %d headers, at most %d", len(h.Headers), maxHeaders)
	}
	j := &job{path: h.URL, body: h.Payload, contentType: contentType(h.Headers), maxTokens: int64(a.maxTokens), choices: 1}
	if h.URL == api.TranscriptionsPath {
		if err := j.checkForm(a); err != nil {
			return nil, err
		}
		return j, p.key(ctx, a, j)
	}
	endpoint, ok := p.paths[h.URL]
	if !ok {
		return nil, violation("unknown path")
	}
	if j.in, err = p.policy.Read(endpoint, h.Payload); err != nil {
		if e, ok := errors.AsType[*api.Error](err); ok {
			return nil, refusedError{e}
		}
		return nil, violation("request refused")
	}
	if base(j.in.Model) != base(a.model) {
		return nil, violation("model name mismatch")
	}
	j.stream, j.choices = j.in.Stream, j.in.N
	if j.in.MaxTokens > 0 {
		j.maxTokens = min(j.maxTokens, j.in.MaxTokens)
	}
	return j, p.key(ctx, a, j)
}

// checkForm is the policy for a form, which goes on as it is. What is encrypted only the worker can read.
func (j *job) checkForm(a *ask) error {
	if a.key != nil {
		if len(j.body) > api.MaxAudio {
			return refusedError{&api.Error{Code: api.RequestTooLarge, Message: fmt.Sprintf("the form has %d bytes, at most %d are accepted; send a shorter recording", len(j.body), api.MaxAudio)}}
		}
		return nil
	}
	form, err := api.ReadForm(j.contentType, j.body)
	if e, ok := errors.AsType[*api.Error](err); ok {
		return refusedError{e}
	}
	if err != nil {
		return violation("request refused")
	}
	if j.sound = form.PromptTokens; base(form.Model) != base(a.model) {
		return violation("model name mismatch")
	}
	return nil
}

// key finds the private half of the key that the prompt is encrypted to.
func (p *Proxy) key(ctx context.Context, a *ask, j *job) error {
	encrypted := j.in != nil && j.in.Encrypted
	switch {
	case a.key == nil && !encrypted:
		return nil
	case a.key == nil:
		return refusal("the request is encrypted and names no public_key")
	case !encrypted && j.in != nil:
		return refusal("public_key is given and the request is not encrypted")
	case p.deps.PrivateKey == nil:
		return refusal("unknown public key")
	}
	private, ok := p.deps.PrivateKey(ctx, *a.key)
	if !ok {
		return refusal("unknown public key")
	}
	j.private = &private
	return nil
}

func contentType(headers []tl.HTTPHeader) string {
	for _, h := range headers {
		if strings.EqualFold(h.Name, "Content-Type") {
			return h.Value
		}
	}
	return "application/json"
}

// base is a model's name without its version.
func base(model string) string {
	name, _, _ := strings.Cut(model, "@")
	return name
}

// reserve is what must be available for the request.
func (j *job) reserve(a *ask, m pricing.Multipliers) int64 {
	return pricing.Reserve(pricing.Ask{
		QueryBytes: int64(len(a.query)), MaxTokens: j.maxTokens, N: j.choices, MaxCoefficient: int64(a.maxCoefficient),
	}, m)
}

// Features of workers, by which requests that some cannot serve avoid them: prompt encryption, the fields that the second
// generation of the reference accepts, and everything that workers of ours do.
const (
	featureKeys = "keys"
	featureApr  = "apr2026"
	featureOurs = "ours"
)

func features(version int32) []string {
	switch {
	case version >= versionOurs:
		return []string{featureKeys, featureApr, featureOurs}
	case version >= versionKeys:
		return []string{featureKeys, featureApr}
	default:
		return nil
	}
}

// need is what the request asks of a worker; ours says that only one of our making will do.
func (j *job) need(a *ask, client string, exclude []uint64, ours bool) sched.Request {
	r := sched.Request{
		Client: client, Model: a.model, MaxCoefficient: int64(a.maxCoefficient), Exclude: exclude,
		Tokens: int64(len(j.body))/4 + j.choices*min(j.maxTokens, maxInt31/j.choices),
	}
	if j.private != nil {
		r.Features = append(r.Features, featureKeys)
	}
	if j.in == nil {
		return r
	}
	r.Sessions = j.in.Sessions
	switch least := emulate.Needed(j.in); {
	case ours || least >= versionOurs:
		r.Features = append(r.Features, featureOurs)
	case least >= versionKeys:
		r.Features = append(r.Features, featureApr)
	}
	return r
}

const maxInt31 = 1<<31 - 1

// promptTokens estimates a prompt that nobody counted by the length of its text, as workers do (inference.md section 7).
func (j *job) promptTokens() int64 {
	if j.in == nil {
		return j.sound
	}
	return j.in.PromptTokens()
}

// forward is the inner request as a worker gets it: consumed fields cut, the maximum of tokens as reserved, a cache salt
// (inference.md sections 4 and 11). Workers that are not ours know no salt.
func (j *job) forward(version int32, salt string) (pieces [][]byte) {
	if j.in == nil {
		return [][]byte{j.body}
	}
	e := j.in.Forward()
	if version < versionOurs {
		emulate.Cut(e, j.in, emulate.Peer{Version: version})
	}
	j.bound(e)
	if salt != "" && version >= versionOurs {
		e.Set("cache_salt", []byte(`"`+salt+`"`)) // of letters that need no escape
	}
	if version < versionOurs && j.in.Model != base(j.in.Model) {
		e.Set("model", quoted(base(j.in.Model)))
	}
	return e.Pieces()
}

// common says with how many bytes of the body that came the pieces of one that goes on begin: their first piece, where it
// is that body's own.
func (j *job) common(pieces [][]byte) int {
	if len(j.body) > 0 && len(pieces) > 0 && &pieces[0][0] == &j.body[0] {
		return len(pieces[0])
	}
	return 0
}

// bound sets the maximum of tokens in the fields that bound the answer: those that are there, else the one that the endpoint
// has.
func (j *job) bound(e *jsonscan.Edit) {
	fields := tokenFields(j.in.Endpoint)
	if fields[0] == "" {
		return
	}
	doc, limit, there := j.in.Body(), strconv.AppendInt(nil, j.maxTokens, 10), false
	for _, f := range fields {
		if v, ok := doc.Get(f); ok && v.Kind() != jsonscan.Null {
			e.Set(f, limit)
			there = true
		}
	}
	if !there {
		e.Set(fields[0], limit)
	}
}

// tokenFields names the fields that bound an answer; an endpoint has none, one or two.
func tokenFields(ep api.Endpoint) [2]string {
	switch ep {
	case api.Chat:
		return [2]string{"max_tokens", "max_completion_tokens"}
	case api.Completions:
		return [2]string{"max_tokens"}
	case api.Responses:
		return [2]string{"max_output_tokens"}
	default:
		return [2]string{}
	}
}

// query is the http.request around the pieces of a body, which are copied once, and the body in it.
func (j *job) query(pieces [][]byte, id [32]byte, version int32) (query, body []byte) {
	const empty, longest = 4, 8 // bytes of a payload without content, and around one
	headers := [...]tl.HTTPHeader{{Name: "Content-Type", Value: j.contentType}, {Name: headerID}}
	h := tl.HTTPRequest{Method: http.MethodPost, URL: j.path, HTTPVersion: "HTTP/1.1", Headers: headers[:1]}
	if version >= versionOurs {
		headers[1].Value = hexed(id[:])
		h.Headers = headers[:]
	}
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	query = h.Append(make([]byte, 0, h.Size()-empty+size+longest))
	query = wire.AppendLength(query[:len(query)-empty], size) // the payload stands at the end
	start := len(query)
	for _, p := range pieces {
		query = append(query, p...)
	}
	return wire.AppendPadding(query, size), query[start : start+size : start+size]
}

// quoted is a JSON string of a model's name.
func quoted(s string) []byte {
	out, err := json.Marshal(s)
	if err != nil { // strings always encode
		return []byte(`""`)
	}
	return out
}
