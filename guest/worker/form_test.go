package worker

import (
	"net/http"
	"strings"
	"testing"

	"cocoon/contracts/api"
)

// TestATranscriptionIsServed: the engine gets the form with its own name of the model, and the caller pays what it counts;
// what is no such form never reaches it.
func TestATranscriptionIsServed(t *testing.T) {
	var seen []string
	k := newKit(t, func(_ *Config, d *Deps) {
		d.Engine = serveEngine(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Path != api.TranscriptionsPath {
				_, _ = w.Write([]byte(`{"choices":[{"index":0,"text":"x","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`))
				return
			}
			if err := r.ParseMultipartForm(1 << 20); err == nil {
				seen = append(seen, r.FormValue("model"), r.FormValue("language"), r.MultipartForm.File["file"][0].Filename)
			}
			_, _ = w.Write([]byte(`{"text":"hello","usage":{"type":"tokens","input_tokens":14,"output_tokens":2,"total_tokens":16}}`))
		}), nil)
	})
	p := k.connect(5)
	field := func(name, value string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	file := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n"
	form := func(fields string) call {
		return call{path: api.TranscriptionsPath, body: fields + "--b--\r\n", contentType: "multipart/form-data; boundary=b"}
	}
	good := form(file + field("model", "test/model") + field("language", "en"))
	a := p.run(1, good)
	if a.code != 0 || a.head.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"hello"`) || a.final.TokensUsed.TotalTokensUsed != 16 {
		t.Errorf("%d %s, %s, %+v", a.code, a.text, a.body, a.final)
	}
	if strings.Join(seen, " ") != "model en a.wav" {
		t.Errorf("the engine saw %q", seen)
	}
	k.checkStatement(idOf(1), good.body, a)
	n := uint32(1)
	for name, tc := range map[string]struct {
		c      call
		status int32
		code   string
	}{
		"another model": {form(file + field("model", "dear/model")), 404, "model_not_found"},
		"no file":       {form(field("model", "test/model")), 400, "invalid_value"},
		"unknown field": {form(file + field("model", "test/model") + field("stream", "true")), 400, "unsupported_parameter"},
		"JSON":          {call{path: api.TranscriptionsPath, body: `{"model":"test/model"}`}, 415, "unsupported_media_type"},
	} {
		n++
		if a := p.run(n, tc.c); a.head == nil || a.head.StatusCode != tc.status || !strings.Contains(string(a.body), `"code":"`+tc.code+`"`) {
			t.Errorf("%s: %s, %s", name, a.text, a.body)
		}
	}
	if len(seen) != 3 {
		t.Errorf("the engine saw %q", seen)
	}
}
