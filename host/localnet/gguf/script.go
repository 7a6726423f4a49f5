package gguf

import (
	"fmt"
	"slices"
)

// Kinds of tokens, as llama.cpp numbers them.
const (
	normal  int32 = 1
	unknown int32 = 2
	control int32 = 3
	octet   int32 = 6
)

const endOfText = "</s>"

// vocabulary is the tokens of a model, by number.
type vocabulary struct {
	tokens []string
	scores []float32
	kinds  []int32
	number map[string]int
	words  int
}

// newVocabulary has the tokens that every tokenizer of this kind needs: the three special ones and all bytes.
func newVocabulary() *vocabulary {
	v := &vocabulary{number: make(map[string]int)}
	v.add("<unk>", 0, unknown)
	v.add("<s>", 0, control)
	v.add(endOfText, 0, control)
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), 0, octet)
	}
	return v
}

func (v *vocabulary) add(token string, score float32, kind int32) int {
	v.tokens, v.scores, v.kinds = append(v.tokens, token), append(v.scores, score), append(v.kinds, kind)
	v.number[token] = len(v.tokens) - 1
	return len(v.tokens) - 1
}

// word is the number of a word. Later words have lower scores, so the tokenizer prefers the earlier.
func (v *vocabulary) word(text string) int {
	if n, ok := v.number[text]; ok {
		return n
	}
	v.words++
	return v.add(text, -float32(v.words), normal)
}

// script says which token follows which.
type script struct {
	v    *vocabulary
	next map[int]int
	err  error
}

func newScript(v *vocabulary) *script { return &script{v: v, next: make(map[int]int)} }

// chain has the words follow start, and end follow them.
func (s *script) chain(start string, words []string, end string) {
	at := s.v.word(start)
	for _, w := range append(slices.Clip(words), end) {
		to := s.v.word(w)
		if was, taken := s.next[at]; taken && was != to && s.err == nil {
			s.err = fmt.Errorf("%q leads to %q and to %q", s.v.tokens[at], s.v.tokens[was], w)
		}
		s.next[at] = to
		at = to
	}
}
