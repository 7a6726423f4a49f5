package engine

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
)

// retryAfter is the advice when an engine is full and says nothing itself.
const retryAfter = time.Second

// Failure says what an engine's error answer means in our own words: engines put numbers where the API has strings, and
// their messages may quote the prompt.
func (c *Config) Failure(status int, body []byte) *api.Error {
	text := strings.ToLower(errorText(body))
	for _, phrase := range c.Errors.Context {
		if strings.Contains(text, strings.ToLower(phrase)) {
			return c.tooLong(body)
		}
	}
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return &api.Error{Code: api.RateLimitExceeded, Message: "the engine is overloaded; try again later", RetryAfter: retryAfter}
	case status == http.StatusNotImplemented: // no failure: whoever asks for what an engine lacks must not close it to others
		return &api.Error{Code: api.UnsupportedValue, Message: "the engine of this model does not offer what this path asks for; see /v1/models"}
	case status >= 400 && status < 500:
		return &api.Error{Code: api.InvalidValue, Message: "the engine refuses this request; check the fields against the model's abilities"}
	}
	return &api.Error{Code: api.EngineError, Message: "the engine could not answer this request"}
}

// tooLong says how much would fit, and how much came where the engine says that in a number of its own: its words are not
// repeated.
func (c *Config) tooLong(body []byte) *api.Error {
	context, prompt := c.Limits.Context, int64(0)
	if doc, err := jsonscan.Check(body); err == nil {
		inner, _ := doc.Get("error")
		number := func(key string) int64 {
			v, _ := inner.Get(key)
			n, _ := v.Int()
			return n
		}
		if n := number("n_ctx"); n > 0 {
			context = n
		}
		prompt = number("n_prompt_tokens")
	}
	text := "the prompt and the answer that was asked for do not fit into the model's context"
	if context > 0 {
		text += fmt.Sprintf(" of %d tokens", context)
	}
	if prompt > 0 {
		text += fmt.Sprintf("; the prompt alone has %d", prompt)
	}
	return &api.Error{Code: api.ContextLength, Message: text + "; send less or ask for less"}
}

// errorText is what an error object says: type, code and message, in whichever of the known shapes.
func errorText(body []byte) string {
	doc, err := jsonscan.Check(body)
	if err != nil {
		return ""
	}
	if inner, ok := doc.Get("error"); ok && inner.Kind() == jsonscan.Object {
		doc = inner
	}
	var text strings.Builder
	for _, key := range []string{"type", "code", "message"} {
		v, _ := doc.Get(key)
		if s, ok := v.Text(); ok {
			text.WriteString(s)
			text.WriteByte('\n')
		}
	}
	return text.String()
}
