package stats

import (
	"strconv"
	"strings"
)

// markup is HTML as it is written down in this package. A string is none: only constants become markup without a word.
type markup string

// html is HTML in the making. What is shown goes through says, which escapes it for text and for quoted attributes, the
// only places where this package has values; html/template would do the same, and its reflection would keep every
// exported method in a program that has a page, a fifth of the guest's binary. The tests compare both.
type html struct {
	b    []byte
	safe *strings.Replacer
}

func newHTML() *html {
	return &html{safe: strings.NewReplacer("\x00", "\uFFFD", "&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")}
}

// is appends markup.
func (h *html) is(m markup) *html {
	h.b = append(h.b, m...)
	return h
}

// says appends text.
func (h *html) says(text string) *html {
	h.b = append(h.b, h.safe.Replace(text)...)
	return h
}

// number appends a number.
func (h *html) number(n int) *html {
	h.b = strconv.AppendInt(h.b, int64(n), 10)
	return h
}

// with appends markup, text and markup where there is text.
func (h *html) with(before markup, text string, after markup) *html {
	if text == "" {
		return h
	}
	return h.is(before).says(text).is(after)
}

// when appends markup on a condition.
func (h *html) when(yes bool, m markup) *html {
	if yes {
		h.is(m)
	}
	return h
}
