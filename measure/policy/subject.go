package policy

import (
	"time"
	"unicode"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// maxReason bounds what a finding repeats of an error.
const maxReason = 300

// subject is the evidence as rules see it.
type subject struct {
	rules *Rules
	// intel is the id of the root that is not simulated; noImage is the image hash of a TD without measurements.
	intel   dcap.RootID
	noImage tdx.Hash
	ev      Evidence
	env     Env
	// quote is the verified quote; td or enclave is its body. All are nil without one.
	quote   *dcap.Result
	td      *tdx.Body
	enclave *tdx.SGXBody
	image   tdx.Hash
	// listed is the chain's list, when the policy uses it.
	listed    []tdx.Hash
	listedAt  time.Time
	listedErr error
	// words are what the rules judged so far got, one after the other; ends is where each ends.
	words []byte
	ends  []int
}

// read takes out of the evidence what several rules need.
func (s *subject) read() {
	if s.rules.ImageSource == FromChain && s.env.Images != nil {
		s.listed, s.listedAt, s.listedErr = s.env.Images.Allowed()
	}
	q := s.ev.Quote
	if q == nil || q.Quote == nil || s.ev.Err != nil {
		return
	}
	s.quote, s.td, s.enclave = q, q.Quote.TD, q.Quote.SGX
	switch {
	case s.td != nil:
		s.image = tdx.ImageHash(&s.td.Measurements)
	case s.enclave != nil:
		s.image = tdx.SGXImageHash(s.enclave.MREnclave)
	}
}

// seen is when the peer was met.
func (s *subject) seen() time.Time {
	if s.ev.Seen.IsZero() {
		return s.env.Now
	}
	return s.ev.Seen
}

// ofQuote, ofTD and ofEnclave skip a rule whose object is missing.

func ofQuote(judge func(*subject, *dcap.Result, []byte) ([]byte, outcome)) func(*subject, []byte) ([]byte, outcome) {
	return func(s *subject, words []byte) ([]byte, outcome) {
		if s.quote == nil {
			return append(words, unverified...), skip
		}
		return judge(s, s.quote, words)
	}
}

func ofTD(judge func(*Rules, *tdx.Body, []byte) ([]byte, outcome)) func(*subject, []byte) ([]byte, outcome) {
	return func(s *subject, words []byte) ([]byte, outcome) {
		if s.td == nil {
			return append(words, unverified...), skip
		}
		return judge(s.rules, s.td, words)
	}
}

func ofEnclave(judge func(*Rules, *tdx.SGXBody, []byte) ([]byte, outcome)) func(*subject, []byte) ([]byte, outcome) {
	return func(s *subject, words []byte) ([]byte, outcome) {
		if s.enclave == nil {
			return append(words, unverified...), skip
		}
		return judge(s.rules, s.enclave, words)
	}
}

// appendReason repeats an error without what it may contain of a peer's bytes: it ends up on terminals and in logs.
func appendReason(words []byte, err error) []byte {
	text := err.Error()
	switch {
	case text == "":
		text = "an error without words"
	case len(text) > maxReason:
		text = text[:maxReason] + "..."
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			r = '?'
		}
		words = append(words, string(r)...)
	}
	return words
}
