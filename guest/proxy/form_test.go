package proxy

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cocoon/contracts/api"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// TestFormsAreChecked: a form goes on as it came, if it is one that the field policy accepts and names the model that is
// paid for; an encrypted one is left to the worker.
func TestFormsAreChecked(t *testing.T) {
	p := newBench(t).p
	const kind = "multipart/form-data; boundary=b"
	field := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	good := field("file", "sound") + field("model", "demo/model") + "--b--\r\n"
	ask := func(kind, body string, key *[32]byte) (*job, error) {
		h := tl.HTTPRequest{Method: "POST", URL: api.TranscriptionsPath, Payload: []byte(body), Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: kind}}}
		return p.read(t.Context(), &ask{model: "demo/model", query: tl.Encode(&h), maxTokens: 10, key: key})
	}
	j, err := ask(kind, good, nil)
	if err != nil || string(bytes.Join(j.forward(versionOurs, "salt"), nil)) != good || j.contentType != kind || j.stream {
		t.Fatalf("%+v, %v", j, err)
	}
	if n := j.promptTokens(); n != 1+3 { // by the rule for sound and for text, not by the size of the form
		t.Errorf("a prompt of %d tokens", n)
	}
	for name, tc := range map[string]struct {
		kind, body string
		code       api.Code
	}{
		"no form":       {kind, "anything", api.InvalidValue},
		"JSON":          {"application/json", "{}", api.UnsupportedMedia},
		"unknown field": {kind, field("stream", "true") + good, api.UnsupportedParameter},
	} {
		if _, err := ask(tc.kind, tc.body, nil); err == nil {
			t.Errorf("%s is accepted", name)
		} else if e, ok := errors.AsType[refusedError](err); !ok || e.why.Code != tc.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ask(kind, field("file", "x")+field("model", "dear/model")+"--b--\r\n", nil); codeOf(err) != session.CodeProtocol {
		t.Errorf("another model than the one that is paid for: %v", err)
	}
	long := strings.Repeat("x", api.MaxAudio+1) // no frame would hold what goes on to a worker
	if _, err := ask(kind, long, &[32]byte{1}); !tooLarge(err) {
		t.Errorf("an encrypted form of %d bytes: %v", len(long), err)
	}
	if _, err := ask(kind, "ENC_", &[32]byte{1}); codeOf(err) != session.CodeError {
		t.Errorf("an unknown key: %v", err)
	}
}

func tooLarge(err error) bool {
	e, ok := errors.AsType[refusedError](err)
	return ok && e.why.Code == api.RequestTooLarge
}
