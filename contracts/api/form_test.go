package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"
)

// formOf makes a form; an @ before a name makes a file of it.
func formOf(tb testing.TB, fields ...string) (contentType string, body []byte) {
	tb.Helper()
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	if err := w.SetBoundary("edge-of-a-form"); err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		var err error
		if name, file := strings.CutPrefix(fields[i], "@"); file {
			var to io.Writer
			if to, err = w.CreateFormFile(name, "speech.wav"); err == nil {
				_, err = io.WriteString(to, fields[i+1])
			}
		} else {
			err = w.WriteField(name, fields[i+1])
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return w.FormDataContentType(), out.Bytes()
}

func TestFormsAreChecked(t *testing.T) {
	many := []string{"@file", "x", "model", "m"}
	for range maxParts {
		many = append(many, "prompt", "x")
	}
	for name, tc := range map[string]struct {
		fields []string
		code   Code
		param  string
	}{
		"good":           {[]string{"@file", "x", "model", "org/m", "language", "en", "prompt", "p", "response_format", "json", "temperature", "0.5"}, "", ""},
		"no file":        {[]string{"model", "m"}, InvalidValue, "file"},
		"no model":       {[]string{"@file", "x"}, InvalidValue, "model"},
		"odd model":      {[]string{"@file", "x", "model", "a b"}, InvalidValue, "model"},
		"long model":     {[]string{"@file", "x", "model", strings.Repeat("m", maxModelName+1)}, InvalidValue, "model"},
		"twice":          {[]string{"@file", "x", "model", "m", "model", "n"}, InvalidValue, "model"},
		"unknown":        {[]string{"@file", "x", "model", "m", "chunking_strategy", "auto"}, UnsupportedParameter, "chunking_strategy"},
		"unreadable":     {[]string{"@file", "x", "model", "m", "a b", "auto"}, UnsupportedParameter, "(unprintable)"},
		"other format":   {[]string{"@file", "x", "model", "m", "response_format", "srt"}, UnsupportedValue, "response_format"},
		"hot":            {[]string{"@file", "x", "model", "m", "temperature", "2"}, InvalidValue, "temperature"},
		"no temperature": {[]string{"@file", "x", "model", "m", "temperature", "NaN"}, InvalidValue, "temperature"},
		"long prompt":    {[]string{"@file", "x", "model", "m", "prompt", strings.Repeat("p", maxField+1)}, InvalidValue, "prompt"},
		"many fields":    {many, InvalidValue, "prompt"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := ReadForm(formOf(t, tc.fields...))
			if tc.code == "" {
				if err != nil || f.Model != "org/m" || f.Endpoint != Transcriptions || f.N != 1 || f.PromptTokens != 1+2+1+1+1+1 {
					t.Errorf("%+v, %v", f, err)
				}
				return
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != tc.code || e.Param != tc.param {
				t.Errorf("%v, wanted %s of %q", err, tc.code, tc.param)
			}
		})
	}
	kind, body := formOf(t, "@file", "x", "model", "m")
	for what, tc := range map[string]struct {
		kind string
		body []byte
		code Code
	}{
		"JSON":          {"application/json", body, UnsupportedMedia},
		"no boundary":   {"multipart/form-data", body, UnsupportedMedia},
		"mixed":         {strings.Replace(kind, "form-data", "mixed", 1), body, UnsupportedMedia},
		"long type":     {kind + "; x=" + strings.Repeat("y", maxContentType), body, UnsupportedMedia},
		"cut":           {kind, body[:len(body)-8], InvalidValue},
		"too large":     {kind, make([]byte, MaxAudio+1), RequestTooLarge},
		"nothing in it": {kind, nil, InvalidValue},
	} {
		if _, err := ReadForm(tc.kind, tc.body); err == nil {
			t.Errorf("%s is accepted", what)
		} else if e, ok := errors.AsType[*Error](err); !ok || e.Code != tc.code {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAnEngineGetsWhatWasChecked: the same fields with the engine's model, and nothing else of the caller's bytes.
func TestAnEngineGetsWhatWasChecked(t *testing.T) {
	kind, body := formOf(t, "@file", "\x00RIFF\r\n--edge", "model", "org/m", "prompt", "p")
	body = append(append([]byte("a preamble that some engine may read\r\n"), body...), "and an epilogue"...)
	f, err := ReadForm(kind, body)
	if err != nil {
		t.Fatal(err)
	}
	kind, out, err := f.ForEngine("model")
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(kind)
	if err != nil {
		t.Fatal(err)
	}
	got, err := multipart.NewReader(bytes.NewReader(out), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	file, err := got.File["file"][0].Open()
	if err != nil {
		t.Fatal(err)
	}
	data, _ := io.ReadAll(file)
	if len(got.Value) != 2 || got.Value["model"][0] != "model" || got.Value["prompt"][0] != "p" || string(data) != "\x00RIFF\r\n--edge" {
		t.Errorf("%+v, file %q", got.Value, data)
	}
	if got.File["file"][0].Filename != "speech.wav" || bytes.Contains(out, []byte("preamble")) || bytes.Contains(out, []byte("epilogue")) || bytes.Contains(out, []byte("org/m")) {
		t.Errorf("%q", out)
	}
}

func FuzzForm(f *testing.F) {
	for _, seed := range [][]string{
		{"@file", "x", "model", "m"},
		{"@file", "", "model", "org/m", "language", "en"},
		{"model", "m"},
		{"@file", "x", "model", "m", "temperature", "1e400"},
		{"@file", "x", "model", "m", "response_format", "json", "prompt", "\x00"},
	} {
		kind, body := formOf(f, seed...)
		f.Add(kind, body)
	}
	f.Add("multipart/form-data; boundary=\"a\r\nb\"", []byte("--a"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		form, err := ReadForm(kind, body)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		again, out, err := form.ForEngine("model")
		if err != nil {
			return
		}
		if strings.ContainsAny(again, "\r\n") || textproto.TrimString(again) != again {
			t.Fatalf("content type %q", again)
		}
		second, err := ReadForm(again, out)
		if err != nil || second.Model != "model" {
			t.Fatalf("%v in %q", err, out)
		}
	})
}
