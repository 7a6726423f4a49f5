package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"cocoon/contracts/api/jsonscan"
)

const (
	// maxImages and maxImageBytes bound pictures inside data: URLs (inference.md section 4).
	maxImages     = 20
	maxImageBytes = 8 << 20
	// sniffed is how much of a picture its type is read from.
	sniffed = 512
	// maxPrompts bounds the prompts of one completion, each of which has answers of its own.
	maxPrompts = 2048
)

func messages(r *Request, v jsonscan.Value, _ Limits) error {
	if v.Kind() != jsonscan.Array || v.Empty() {
		return errors.New("must be an array with at least one message")
	}
	return r.media(v)
}

func input(r *Request, v jsonscan.Value, _ Limits) error {
	if s, ok := v.Text(); ok && s != "" {
		return nil
	}
	if v.Kind() != jsonscan.Array || v.Empty() {
		return errors.New("must be a string or an array, and not empty")
	}
	return r.media(v)
}

// prompt is a string, strings, token ids, or arrays of token ids.
func prompt(_ *Request, v jsonscan.Value, _ Limits) error {
	if v.Kind() == jsonscan.String {
		return nil
	}
	if v.Kind() != jsonscan.Array || v.Empty() {
		return errors.New("must be a string, an array of strings, an array of token ids or an array of such arrays")
	}
	kind := jsonscan.Kind(0)
	for e := range v.Each() {
		if kind == 0 {
			kind = e.Kind()
		}
		if e.Kind() != kind {
			return errors.New("must not mix strings and token ids")
		}
		if err := promptElement(e); err != nil {
			return err
		}
	}
	return nil
}

// prompts counts the prompts of a completion, up to one more than it may have. Numbers are the tokens of one.
func prompts(v jsonscan.Value) (n int64) {
	for e := range v.Each() {
		if e.Kind() == jsonscan.Number || n > maxPrompts {
			break
		}
		n++
	}
	return max(n, 1)
}

func promptElement(v jsonscan.Value) error {
	switch v.Kind() {
	case jsonscan.String:
		return nil
	case jsonscan.Number:
		_, err := within(v, 0, maxInteger)
		return err
	case jsonscan.Array:
		for e := range v.Each() {
			if _, err := within(e, 0, maxInteger); err != nil {
				return err
			}
		}
		return nil
	default:
		return errors.New("must hold strings or token ids")
	}
}

// media refuses everything that an engine would fetch: a member whose name ends in _url must be a data: URL. It counts the
// bytes of what is attached to the text.
func (r *Request) media(v jsonscan.Value) error {
	images, until := 0, 0
	for m := range v.Inside(attached) {
		if m.At() >= until { // what lies within the last one is counted with it
			until = m.At() + len(m.Raw())
			r.attached += len(m.Raw())
		}
		if !fetched(m.Key) {
			continue
		}
		url, ok := m.Text()
		if !ok {
			url, ok = lookup(m.Value, "url").Text()
		}
		if !ok {
			continue
		}
		images++
		if images > maxImages {
			return fmt.Errorf("at most %d images or files", maxImages)
		}
		if err := dataURL(url); err != nil {
			return err
		}
	}
	return nil
}

func attached(key []byte) bool { return fetched(key) || string(key) == "input_audio" }

func fetched(key []byte) bool {
	return bytes.HasSuffix(key, []byte("_url")) || string(key) == "file_data"
}

// PromptTokens estimates what a prompt costs that nobody counted, by the length of its text (inference.md section 7). Pictures
// and sound are no text.
func (r *Request) PromptTokens() int64 {
	n := -r.attached
	for _, key := range []string{"messages", "prompt", "input", "instructions", "tools"} {
		n += len(lookup(r.body, key).Raw())
	}
	return int64(max(n, 0)+TextBytesPerToken-1) / TextBytesPerToken
}

// dataURL accepts data: URLs in base64 whose picture is of the declared type and size.
func dataURL(url string) error {
	const scheme = "data:"
	if len(url) < len(scheme) || !strings.EqualFold(url[:len(scheme)], scheme) {
		return &ruleError{RemoteMediaRefused, "media must be inside the request as a data: URL; nothing is fetched from the network"}
	}
	head, payload, ok := strings.Cut(url[len(scheme):], ",")
	mime, encoding, _ := strings.Cut(head, ";")
	if !ok || encoding != "base64" {
		return errors.New("a data: URL must be data:TYPE;base64,DATA")
	}
	if base64.StdEncoding.DecodedLen(len(payload)) > maxImageBytes+2 {
		return fmt.Errorf("an image or file of more than %d bytes", maxImageBytes)
	}
	raw, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		return errors.New("a data: URL whose data is not base64")
	}
	if found := http.DetectContentType(raw[:min(len(raw), sniffed)]); strings.HasPrefix(mime, "image/") && !strings.EqualFold(found, mime) {
		return errors.New("an image that is not of the type its data: URL declares")
	}
	return nil
}
