package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
)

const (
	// TranscriptionsPath takes a form in place of JSON (inference.md section 3).
	TranscriptionsPath = "/v1/audio/transcriptions"
	// MaxAudio keeps the message around a form below the frame limit of protocol.md section 2.6.
	MaxAudio = 15 << 20
	// maxParts, maxField and maxContentType bound a form.
	maxParts, maxField, maxContentType = 16, 16 << 10, 256
	// maxModelName bounds a model's name.
	maxModelName = 256
	// audioByteTokens is how many bytes of a file count as a token where the engine does not count: 16 kHz, 16 bits, one
	// channel, at the fifty positions a second of the usual encoders.
	audioByteTokens = 640
	// TextBytesPerToken is the same of a prompt's text (inference.md section 7).
	TextBytesPerToken = 4
)

// Form is an accepted form.
type Form struct {
	Request
	// PromptTokens estimates what an engine that does not count would count.
	PromptTokens int64

	boundary string
	body     []byte
}

func badForm(param, format string, args ...any) error {
	return &Error{Code: InvalidValue, Param: param, Message: fmt.Sprintf(format, args...)}
}

// ReadForm checks the fields that inference.md section 3 lists; the file is not looked into. An error is an *Error.
func ReadForm(contentType string, body []byte) (*Form, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" || len(contentType) > maxContentType {
		return nil, &Error{Code: UnsupportedMedia, Message: "the Content-Type must be multipart/form-data with a boundary"}
	}
	if len(body) > MaxAudio {
		return nil, &Error{Code: RequestTooLarge, Message: fmt.Sprintf("the form has %d bytes, at most %d are accepted; send a shorter recording", len(body), MaxAudio)}
	}
	f := &Form{boundary: params["boundary"], body: body}
	f.N, f.Endpoint, f.MaxCoefficient, f.Timeout = 1, Transcriptions, DefaultMaxCoefficient, DefaultTimeout
	seen := make(map[string]bool)
	err = f.parts(func(name string, _ *multipart.Part, content []byte) error {
		if seen[name] {
			return badForm(printable(name), "this field of the form stands twice")
		}
		seen[name] = true
		return f.field(name, content)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"file", "model"} {
		if !seen[name] {
			return nil, badForm(name, "this field is required")
		}
	}
	return f, nil
}

// parts goes through the form.
func (f *Form) parts(do func(name string, part *multipart.Part, content []byte) error) error {
	form := multipart.NewReader(bytes.NewReader(f.body), f.boundary)
	for n := 0; ; n++ {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || n >= maxParts {
			return badForm("", "the form is malformed or has more than %d fields", maxParts)
		}
		content, err := io.ReadAll(io.LimitReader(part, MaxAudio))
		if err != nil {
			return badForm("", "the form is malformed")
		}
		if err := do(part.FormName(), part, content); err != nil {
			return err
		}
	}
}

// field checks one field.
func (f *Form) field(name string, content []byte) error {
	if name == "file" {
		f.PromptTokens += int64(len(content)+audioByteTokens-1) / audioByteTokens
		return nil
	}
	if len(content) > maxField {
		return badForm(name, "must be text of at most %d bytes", maxField)
	}
	f.PromptTokens += int64(len(content)+TextBytesPerToken-1) / TextBytesPerToken
	value := string(content)
	switch name {
	case "model":
		f.Model = value
		return checkModel(value)
	case "response_format":
		if value != "json" {
			return &Error{Code: UnsupportedValue, Param: name, Message: "must be json"}
		}
	case "temperature":
		if v, err := strconv.ParseFloat(value, 64); err != nil || !(v >= 0 && v <= 1) {
			return badForm(name, "must be a number from 0 to 1")
		}
	case "language", "prompt":
	default:
		return &Error{Code: UnsupportedParameter, Param: printable(name), Message: "this field of the form is not known here; known are file, model, language, prompt, response_format and temperature"}
	}
	return nil
}

func checkModel(name string) error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if name == "" || len(name) > maxModelName || strings.ContainsFunc(name, odd) {
		return badForm("model", "must be the name of a model: up to %d visible ASCII characters; see /v1/models", maxModelName)
	}
	return nil
}

// ForEngine is the form as an engine gets it, which knows its model by another name. It is written anew from what was
// checked, so that an engine cannot read another form out of the same bytes.
func (f *Form) ForEngine(model string) (contentType string, body []byte, err error) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	if err := w.SetBoundary(f.boundary); err != nil {
		return "", nil, badForm("", "the form's boundary is malformed")
	}
	err = f.parts(func(name string, part *multipart.Part, content []byte) error {
		if name == "model" {
			return w.WriteField(name, model)
		}
		if name != "file" {
			return w.WriteField(name, string(content))
		}
		file := part.FileName()
		if file == "" {
			file = "audio"
		}
		to, err := w.CreateFormFile(name, file)
		if err == nil {
			_, err = to.Write(content)
		}
		return err
	})
	if err == nil {
		err = w.Close()
	}
	return w.FormDataContentType(), out.Bytes(), err
}
