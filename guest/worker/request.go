package worker

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/meter"
)

const (
	// requestIDHeader carries the client's id of the request (inference.md section 9).
	requestIDHeader = "X-Cocoon-Request-Id"
	// maxHeaders bounds the headers of a request; ours have two.
	maxHeaders = 64
	// saltField is the member with a cache salt, saltSize its size before base64.
	saltField = "cache_salt"
	saltSize  = 32
)

// wireError ends a request with an error message instead of an HTTP answer.
type wireError struct {
	code session.Code
	text string
}

func (e *wireError) Error() string { return e.text }

// prepared is a request that the engine may see.
type prepared struct {
	path        string
	contentType string
	body        [][]byte // one after the other
	stream      bool
	meter       meter.Options
	// maxTokens bounds the answer over all choices.
	maxTokens int64
	// talk encrypts the answer; nil when the request was in the clear.
	talk *promptcrypt.Conversation
}

// envelope reads the http.request of a query, whose memory it shares, and the name by which the client knows it.
func envelope(raw []byte, id [32]byte) (*tl.HTTPRequest, string, error) {
	v, err := tl.View(raw)
	if err != nil {
		return nil, "", &wireError{session.CodeProtocol, "malformed http.request"}
	}
	r, ok := v.(*tl.HTTPRequest)
	if !ok || len(r.Headers) > maxHeaders {
		return nil, "", &wireError{session.CodeProtocol, "the query is no http.request"}
	}
	name := ""
	for _, h := range r.Headers {
		if !strings.EqualFold(h.Name, requestIDHeader) {
			continue
		}
		if name = hexName(h.Value); len(name) != hex.EncodedLen(len(id)) {
			return nil, "", &wireError{session.CodeProtocol, requestIDHeader + " is not 64 hexadecimal digits"}
		}
	}
	if name == "" {
		name = hex.EncodeToString(id[:])
	}
	return r, name, nil
}

// hexName is a number in hexadecimal digits, with small letters; empty is none.
func hexName(s string) string {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			return hexName(strings.ToLower(s))
		default:
			return ""
		}
	}
	return s
}

// endpoint finds what a request asks for, by exact path.
func (w *Worker) endpoint(r *tl.HTTPRequest) (api.Endpoint, error) {
	ep, ok := w.paths[r.URL]
	if r.URL == api.TranscriptionsPath {
		ep, ok = api.Transcriptions, true
	}
	switch {
	case !ok || !w.deps.Engine.Config().Allows(r.URL):
		return 0, &api.Error{Code: api.UnknownURL, Message: "this worker's engine does not serve this path; see /v1/models for what it serves"}
	case r.Method != http.MethodPost:
		return 0, &api.Error{Code: api.MethodNotAllowed, Message: "this path takes POST"}
	}
	kind, _, _ := strings.Cut(contentType(r), ";")
	if ep != api.Transcriptions && !strings.EqualFold(strings.TrimSpace(kind), jsonType) {
		return 0, &api.Error{Code: api.UnsupportedMedia, Message: "send application/json"}
	}
	return ep, nil
}

// prepare checks a request once more and writes what the engine gets. An error is an *api.Error or a *wireError.
func (w *Worker) prepare(r *tl.HTTPRequest, key *[32]byte, name string, d *desk) (*prepared, error) {
	ep, err := w.endpoint(r)
	if err != nil {
		return nil, err
	}
	cfg := w.deps.Engine.Config()
	if int64(len(r.Payload)) > int64(cfg.Limits.MaxBody) {
		return nil, &api.Error{Code: api.RequestTooLarge, Message: fmt.Sprintf("the body has %d bytes, the engine takes %d", len(r.Payload), cfg.Limits.MaxBody)}
	}
	if ep == api.Transcriptions {
		return w.prepareForm(r, key, name)
	}
	doc, salt, talk, err := read(&d.in, r.Payload, key)
	if err != nil {
		return nil, err
	}
	q := &d.request
	if err := w.policy.ReadInto(q, ep, doc); err != nil {
		return nil, err
	}
	if err := w.serves(q); err != nil {
		return nil, err
	}
	p := &d.prepared
	*p = prepared{path: r.URL, contentType: jsonType, stream: q.Stream, talk: talk}
	each := cfg.Limits.MaxOutput
	if q.MaxTokens > 0 {
		each = min(each, q.MaxTokens)
	}
	p.maxTokens = each * q.N
	w.edit(d, q, each, salt, name)
	p.body = d.edit.Pieces()
	p.meter = meter.Options{
		IncludeUsage: q.IncludeUsage, Choices: q.N, Responses: ep == api.Responses, SingleChoiceUsage: !cfg.Usage.SumsChoices,
		PromptTokens: q.PromptTokens(), RequestID: "req_" + name[:32],
	}
	return p, nil
}

// contentType is the request's; the reference's peers may leave it out. Two that differ are none.
func contentType(r *tl.HTTPRequest) string {
	found := ""
	for _, h := range r.Headers {
		switch {
		case !strings.EqualFold(h.Name, "Content-Type"):
		case found != "" && found != h.Value:
			return "ambiguous"
		default:
			found = h.Value
		}
	}
	if found == "" {
		return jsonType
	}
	return found
}

// prepareForm does the same for a form.
func (w *Worker) prepareForm(r *tl.HTTPRequest, key *[32]byte, name string) (*prepared, error) {
	if key != nil && *key != [32]byte{} {
		return nil, &wireError{session.CodeError, "prompt encryption is not offered for forms"}
	}
	form, err := api.ReadForm(contentType(r), r.Payload)
	if err != nil {
		return nil, err
	}
	if err := w.serves(&form.Request); err != nil {
		return nil, err
	}
	cfg := w.deps.Engine.Config()
	p := &prepared{path: r.URL, maxTokens: cfg.Limits.MaxOutput}
	var body []byte
	if p.contentType, body, err = form.ForEngine(cfg.Model); err != nil {
		return nil, err
	}
	p.body = [][]byte{body}
	p.meter = meter.Options{Choices: 1, Responses: true, PromptTokens: form.PromptTokens, RequestID: "req_" + name[:32]}
	return p, nil
}

// read reads a body, and decrypts it where it is encrypted. A key without encryption is refused, and the reverse
// (protocol.md section 9).
func read(in *jsonscan.Reader, body []byte, key *[32]byte) (doc jsonscan.Value, salt string, talk *promptcrypt.Conversation, err error) {
	keyed := key != nil && *key != [32]byte{}
	doc, err = api.ParseWith(in, body)
	if err == nil {
		if salt, err = saltOf(doc); err != nil {
			return doc, "", nil, err
		}
	}
	if keyed != promptcrypt.Marked(doc) {
		return doc, "", nil, &wireError{session.CodeError, "encryption key and is_encrypted go together"}
	}
	if keyed {
		doc, talk, err = unseal(doc, *key)
	}
	return doc, salt, talk, err
}

// unseal decrypts an encrypted request. The salt is the proxy's, which cannot encrypt: it stays behind.
func unseal(doc jsonscan.Value, key [32]byte) (jsonscan.Value, *promptcrypt.Conversation, error) {
	edit := jsonscan.NewEdit(doc)
	edit.Cut(saltField)
	out, talk, err := promptcrypt.OpenRequest(edit.Bytes(), key)
	switch {
	case errors.Is(err, promptcrypt.ErrKey):
		return doc, nil, &wireError{session.CodeError, "unknown public key"}
	case err != nil:
		return doc, nil, &wireError{session.CodeProtocol, "malformed encrypted request"}
	}
	doc, err = api.Parse(out)
	return doc, talk, err
}

// saltOf is the cache salt, which the proxy alone may set.
func saltOf(doc jsonscan.Value) (string, error) {
	v, ok := doc.Get(saltField)
	if !ok {
		return "", nil
	}
	salt, _ := v.Text()
	if raw, err := base64.RawURLEncoding.DecodeString(salt); err != nil || len(raw) != saltSize {
		return "", &api.Error{Code: api.InvalidValue, Param: saltField, Message: "only a proxy sets it, to the hash of its rule; remove it"}
	}
	return salt, nil
}

// serves says whether this worker's model and engine can do what is asked.
func (w *Worker) serves(q *api.Request) error {
	commit, _, _ := strings.Cut(w.cfg.Model, ":")
	if q.Model != w.base && q.Model != commit && q.Model != w.cfg.Model {
		return &api.Error{Code: api.ModelNotFound, Param: "model", Message: "this worker serves another model; see /v1/models"}
	}
	cfg := w.deps.Engine.Config()
	for _, need := range []struct {
		wanted         bool
		feature, param string
	}{
		{q.Endpoint == api.Chat, "chat", "messages"},
		{q.Endpoint == api.Completions, "completions", "prompt"},
		{q.Endpoint == api.Embeddings, "embeddings", "input"},
		{q.Endpoint == api.Responses, "responses", "input"},
		{q.Endpoint == api.Transcriptions, "transcriptions", "file"},
		{q.Tools, "tools", "tools"},
		{q.Schema, "json_schema", "response_format"},
	} {
		if need.wanted && !cfg.Has(need.feature) {
			return &api.Error{Code: api.UnsupportedParameter, Param: need.param, Message: "this model's engine has no support for it"}
		}
	}
	return nil
}

// edit makes the body for the engine: consumed fields are cut, the model gets the engine's name, the answer its bound.
func (w *Worker) edit(d *desk, q *api.Request, maxTokens int64, salt, name string) {
	cfg, e := w.deps.Engine.Config(), &d.edit
	q.ForwardWith(e)
	text := func(s string) []byte { return strconv.AppendQuoteToASCII(make([]byte, 0, len(s)+len(`""`)), s) }
	e.Set("model", w.modelName)
	limit := strconv.AppendInt(d.limit[:0], maxTokens, 10)
	switch q.Endpoint {
	case api.Chat, api.Completions:
		field := "max_tokens"
		if q.Endpoint == api.Chat {
			field = cfg.Set.MaxTokensField
		}
		e.Cut("max_tokens")
		e.Cut("max_completion_tokens")
		e.Set(field, limit)
		e.Cut("stream_options")
		if q.Stream {
			setUsage(e, cfg.Usage.Stream)
		}
	case api.Responses:
		e.Set("max_output_tokens", limit)
		e.Set("store", []byte("false"))
	default: // embeddings have no answer to bound
	}
	if salt != "" && cfg.Set.CacheSalt {
		e.Set(saltField, text(salt))
	}
	if field := cfg.Set.RequestIDField; field != "" {
		e.Set(field, text(name))
	}
}

// setUsage asks the engine to count while it streams.
func setUsage(e *jsonscan.Edit, how string) {
	options := `{"include_usage":true}`
	switch how {
	case engine.ContinuousUsage:
		options = `{"include_usage":true,"continuous_usage_stats":true}`
	case engine.Timings:
		e.Set("timings_per_token", []byte("true"))
	}
	e.Set("stream_options", []byte(options))
}
