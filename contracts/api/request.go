// Package api is the HTTP surface that app developers meet: which requests are accepted, what becomes of each field,
// and how a refusal looks (inference.md sections 3 to 5).
//
// It owns the field policy as one table that gateway, proxy and worker share, and the OpenAI-shaped error. It trusts no
// byte of a request: a body is checked as a whole before a field is looked at. A Policy and what it reads are immutable and safe
// for concurrent use. It never re-encodes a body and never puts what a caller sent into an error.
package api

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cocoon/contracts/api/jsonscan"
)

const (
	// MaxBody bounds a JSON body (inference.md section 4).
	MaxBody = 10 << 20
	// DefaultMaxN is the most choices of one request; engine.toml's limits.max_n may lower it.
	DefaultMaxN = 8
	// DefaultMaxCoefficient is the price cap of a request that names none (protocol.md section 13).
	DefaultMaxCoefficient = 4000
	// MaxCoefficient and MaxTimeout are inclusive bounds (protocol.md decision 5).
	MaxCoefficient = 999_999_999
	// DefaultTimeout and MaxTimeout bound a request's whole life.
	DefaultTimeout = 120 * time.Second
	// MaxTimeout is the longest deadline that a caller may ask for.
	MaxTimeout = time.Hour
	// markEncrypted is the member that marks a body whose strings are encrypted.
	markEncrypted = "is_encrypted"
	// maxInteger is the largest integer of a field.
	maxInteger = 1<<31 - 1
	// maxUnknown bounds the fields that are dropped. Each is looked for again when it is cut, by the proxy: without a bound one
	// body costs it the square of its length.
	maxUnknown = 256
)

// Endpoint is a path of the API that takes a JSON request.
type Endpoint uint8

// The endpoints; they combine as bits.
const (
	Chat Endpoint = 1 << iota
	Completions
	Embeddings
	Responses
	// Transcriptions take a form: ReadForm reads them, and Paths leaves them out.
	Transcriptions
)

// Paths maps URL paths to endpoints.
func Paths() map[string]Endpoint {
	return map[string]Endpoint{
		"/v1/chat/completions": Chat, "/v1/completions": Completions, "/v1/embeddings": Embeddings, "/v1/responses": Responses,
	}
}

// Limits are the knobs of the policy; the zero value is the default.
type Limits struct {
	// MaxN lowers the number of choices; 0 means DefaultMaxN.
	MaxN int64
	// Strict refuses unknown fields instead of dropping them.
	Strict bool
	// AllowDebug lets enable_debug through.
	AllowDebug bool
	// FromProxy leaves cache_salt, which a proxy alone sets, to the caller of Read.
	FromProxy bool
}

// Request is an accepted request. Fields that were absent have their defaults.
type Request struct {
	Endpoint Endpoint
	Model    string
	Stream   bool
	// IncludeUsage says that the caller wants a usage event at the end of a stream.
	IncludeUsage bool
	// N is how many answers are generated: n for each prompt.
	N int64
	// MaxTokens is the smaller of the fields that limit the answer; 0 when the caller set none.
	MaxTokens      int64
	MaxCoefficient int64
	Timeout        time.Duration
	Debug          bool
	// RequestGUID is the caller's own id, 64 hex digits, or empty.
	RequestGUID string
	// RouteSecret is prompt_cache_key, else safety_identifier, else user: it separates caches, and is never logged.
	RouteSecret string
	// Sessions are the attested sessions that alone may serve it; empty means any.
	Sessions []string
	// Tools says that the request offers tools, Schema that it wants a JSON schema obeyed, Encrypted that its strings are
	// encrypted to a worker's key.
	Tools, Schema, Encrypted bool
	// Ignored names the unknown fields, in the order of the body.
	Ignored []string

	body    jsonscan.Value
	consume []string
	// attached are the bytes of the prompt that are no text.
	attached int
}

// Policy is the field policy with one set of limits. It is immutable.
type Policy struct {
	rules map[string]field
	lim   Limits
}

// NewPolicy makes a policy.
func NewPolicy(lim Limits) *Policy {
	if lim.MaxN == 0 {
		lim.MaxN = DefaultMaxN
	}
	rules := fields()
	if lim.FromProxy {
		rules["cache_salt"] = field{endpoints: everywhere, action: consume}
	}
	return &Policy{rules: rules, lim: lim}
}

// Parse reads a body as the JSON object that it has to be. An error is always an *Error.
func Parse(raw []byte) (jsonscan.Value, error) { return ParseWith(new(jsonscan.Reader), raw) }

// ParseWith is Parse with a reader of the caller's.
func ParseWith(in *jsonscan.Reader, raw []byte) (jsonscan.Value, error) {
	if len(raw) > MaxBody {
		return jsonscan.Value{}, &Error{Code: RequestTooLarge, Message: fmt.Sprintf("the body has %d bytes, at most %d are accepted; send less context", len(raw), MaxBody)}
	}
	doc, err := in.Check(raw)
	if err != nil {
		return jsonscan.Value{}, &Error{Code: InvalidJSON, Message: err.Error() + "; send one JSON object in UTF-8"}
	}
	return doc, nil
}

// Read checks a request body. An error is always an *Error.
func (p *Policy) Read(ep Endpoint, raw []byte) (*Request, error) {
	doc, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	return p.ReadDocument(ep, doc)
}

// ReadDocument checks a request body that Parse has read.
func (p *Policy) ReadDocument(ep Endpoint, doc jsonscan.Value) (*Request, error) {
	r := new(Request)
	if err := p.ReadInto(r, ep, doc); err != nil {
		return nil, err
	}
	return r, nil
}

// ReadInto is ReadDocument into memory of the caller's; of a request that is refused nothing counts.
func (p *Policy) ReadInto(r *Request, ep Endpoint, doc jsonscan.Value) error {
	*r = Request{Endpoint: ep, N: 1, MaxCoefficient: DefaultMaxCoefficient, Timeout: DefaultTimeout, body: doc}
	r.Encrypted = present(doc, markEncrypted)
	for m := range doc.All() {
		rule, ok := p.rules[string(m.Key)]
		if !ok || rule.endpoints&ep == 0 {
			key := string(m.Key)
			if p.lim.Strict {
				return &Error{Code: UnsupportedParameter, Param: printable(key), Message: "this field is not known here; remove it"}
			}
			if len(r.Ignored) == maxUnknown {
				return &Error{Code: UnsupportedParameter, Message: fmt.Sprintf("more than %d fields of the body are not known here; remove them", maxUnknown)}
			}
			r.Ignored = append(r.Ignored, printable(key))
			r.consume = append(r.consume, key)
			continue
		}
		if err := r.apply(m, rule, p.lim); err != nil {
			return err
		}
	}
	return r.complete(doc)
}

// apply checks one known field.
func (r *Request) apply(m jsonscan.Member, rule field, lim Limits) error {
	switch rule.action {
	case reject:
		return &Error{Code: UnsupportedParameter, Param: string(m.Key), Message: "this field is not accepted" + reason(rule.why) + "; remove it"}
	case consume:
		r.consume = append(r.consume, string(m.Key))
	case keep, rewrite:
	}
	if rule.check == nil || m.Kind() == jsonscan.Null && !rule.required || r.sealed(m) {
		return nil
	}
	err := rule.check(r, m.Value, lim)
	if err == nil {
		return nil
	}
	out := &Error{Code: rule.code, Param: string(m.Key), Message: err.Error()}
	if f, ok := errors.AsType[*ruleError](err); ok {
		out.Code, out.Message = f.code, f.message
	}
	return out
}

// sealed says that a value's strings are encrypted, so that only the worker can check them; it does so once it has the key.
// What stays readable is listed in protocol.md section 9. A constraint on who serves is nothing for the worker, and has to
// be readable.
func (r *Request) sealed(m jsonscan.Member) bool {
	if !r.Encrypted {
		return false
	}
	open := []string{
		"model", "max_completion_tokens", "max_tokens", "max_coefficient", "timeout", "enable_debug", "request_guid",
		markEncrypted, "sender_public_key", "receiver_public_key", "encryption_nonce", "provider",
	}
	key := string(m.Key)
	if slices.Contains(open, key) || !slices.Contains([]jsonscan.Kind{jsonscan.String, jsonscan.Array, jsonscan.Object}, m.Kind()) {
		return false
	}
	r.Tools = r.Tools || key == "tools" && m.Kind() == jsonscan.Array && !m.Empty()
	r.Schema = r.Schema || key == "response_format"
	return true
}

func reason(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// complete checks what concerns several fields.
func (r *Request) complete(doc jsonscan.Value) error {
	has := func(key string) bool { return present(doc, key) }
	for _, key := range required(r.Endpoint) {
		if !has(key) {
			return &Error{Code: InvalidValue, Param: key, Message: "this field is required"}
		}
	}
	if on, _ := lookup(doc, "ignore_eos").Bool(); on && r.MaxTokens == 0 {
		return &Error{Code: InvalidValue, Param: "ignore_eos", Message: "true needs max_tokens or max_completion_tokens beside it; set one"}
	}
	if low, ok := lookup(doc, "min_tokens").Int(); ok && r.MaxTokens > 0 && low > r.MaxTokens {
		return &Error{Code: InvalidValue, Param: "min_tokens", Message: "above the maximum of tokens; lower it"}
	}
	for _, key := range []string{"sender_public_key", "receiver_public_key", "encryption_nonce"} {
		if has(key) != r.Encrypted {
			return &Error{Code: InvalidValue, Param: key, Message: "the four fields of prompt encryption stand together or not at all"}
		}
	}
	if r.Endpoint == Completions {
		n := prompts(lookup(doc, "prompt"))
		if n > maxPrompts {
			return &Error{Code: InvalidValue, Param: "prompt", Message: fmt.Sprintf("more than %d prompts in one request; send fewer", maxPrompts)}
		}
		r.N *= n
	}
	return nil
}

// present says that a member is there and not null.
func present(doc jsonscan.Value, key string) bool {
	v, ok := doc.Get(key)
	return ok && v.Kind() != jsonscan.Null
}

func lookup(doc jsonscan.Value, key string) jsonscan.Value {
	v, _ := doc.Get(key)
	return v
}

// required names the fields that an endpoint cannot do without.
func required(ep Endpoint) []string {
	switch ep {
	case Chat:
		return []string{"model", "messages"}
	case Completions:
		return []string{"model", "prompt"}
	case Embeddings, Responses:
		return []string{"model", "input"}
	default:
		return nil
	}
}

// Body is the body as it was received.
func (r *Request) Body() jsonscan.Value { return r.body }

// Consumes says whether a member of the body goes no further than to the proxy.
func (r *Request) Consumes(key string) bool { return slices.Contains(r.consume, key) }

// Forward begins the body that goes to an engine: consumed and unknown fields are cut.
func (r *Request) Forward() *jsonscan.Edit {
	e := new(jsonscan.Edit)
	r.ForwardWith(e)
	return e
}

// ForwardWith is Forward with an edit of the caller's.
func (r *Request) ForwardWith(e *jsonscan.Edit) {
	e.Begin(r.body)
	for _, key := range r.consume {
		e.Cut(key)
	}
}

// printable keeps a caller's field name harmless in headers and logs.
func printable(key string) string {
	const longest = 64
	out := []rune(key)
	out = out[:min(len(out), longest)]
	if i := slices.IndexFunc(out, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }); i >= 0 {
		return "(unprintable)"
	}
	return string(out)
}
