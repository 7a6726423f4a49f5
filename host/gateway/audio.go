package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cocoon/contracts/api"
)

const (
	// maxAudio keeps the message below the frame limit of protocol.md section 2.6.
	maxAudio = 15 << 20
	// maxParts and maxField bound the form.
	maxParts, maxField = 16, 16 << 10
)

// transcribe answers /v1/audio/transcriptions: a form whose bytes go on unchanged, once its fields were checked.
func (s *Server) transcribe(w http.ResponseWriter, r *http.Request) {
	x, body, err := s.admit(w, r, "/v1/audio/transcriptions", "multipart/form-data", maxAudio)
	if err == nil {
		x.req, err = readForm(r.Header.Get("Content-Type"), body)
	}
	if err != nil {
		s.refuseRequest(w, err)
		return
	}
	x.body, x.contentType = body, r.Header.Get("Content-Type")
	x.run()
}

func badForm(param, format string, args ...any) error {
	return &api.Error{Code: api.InvalidValue, Param: param, Message: fmt.Sprintf(format, args...)}
}

// readForm checks the fields that inference.md section 3 lists; the file is not looked into.
func readForm(contentType string, body []byte) (*api.Request, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" || len(contentType) > 256 {
		return nil, &api.Error{Code: api.UnsupportedMedia, Message: "the Content-Type must be multipart/form-data with a boundary"}
	}
	req := &api.Request{N: 1, MaxCoefficient: api.DefaultMaxCoefficient, Timeout: api.DefaultTimeout}
	form := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	seen := make(map[string]bool)
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(seen) >= maxParts {
			return nil, badForm("", "the form is malformed or has more than %d fields", maxParts)
		}
		name := part.FormName()
		if seen[name] {
			return nil, badForm("", "a field of the form stands twice")
		}
		seen[name] = true
		if err := readField(req, name, part); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"file", "model"} {
		if !seen[name] {
			return nil, badForm(name, "this field is required")
		}
	}
	return req, nil
}

func checkName(name string) error {
	const longest = 256
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	if name == "" || len(name) > longest || strings.ContainsFunc(name, odd) {
		return badForm("model", "must be the name of a model: up to %d visible ASCII characters; see /v1/models", longest)
	}
	return nil
}

func readField(req *api.Request, name string, part *multipart.Part) error {
	if name == "file" {
		return nil
	}
	if !slices.Contains([]string{"model", "language", "prompt", "response_format", "temperature"}, name) {
		return &api.Error{Code: api.UnsupportedParameter, Message: "a field of the form is not known here; known are file, model, language, prompt, response_format and temperature"}
	}
	raw, err := io.ReadAll(io.LimitReader(part, maxField+1))
	if err != nil || len(raw) > maxField {
		return badForm(name, "must be text of at most %d bytes", maxField)
	}
	value := string(raw)
	switch name {
	case "model":
		req.Model = value
		return checkName(value)
	case "response_format":
		if value != "json" {
			return &api.Error{Code: api.UnsupportedValue, Param: name, Message: "must be json"}
		}
	case "temperature":
		if v, err := strconv.ParseFloat(value, 64); err != nil || !(v >= 0 && v <= 1) {
			return badForm(name, "must be a number from 0 to 1")
		}
	}
	return nil
}
