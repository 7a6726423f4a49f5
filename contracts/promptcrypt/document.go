package promptcrypt

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"cocoon/contracts/api/jsonscan"
)

// The members that an encrypted document has besides its own.
const (
	fieldMark     = "is_encrypted"
	fieldSender   = "sender_public_key"
	fieldReceiver = "receiver_public_key"
	fieldNonce    = "encryption_nonce"

	version1 = "v1"
	// encrypted and plain mark a string.
	encrypted, plain = "ENC_", "DEC_"
	// nonceSize is the random part of a nonce, whose text is in base64.
	nonceSize = 32
	// maxNonce bounds the text of a nonce.
	maxNonce = 128
)

// open are the members whose value stays readable, whole.
func open(key string) bool {
	return slices.Contains([]string{
		"model", "max_completion_tokens", "max_tokens", "max_coefficient", "timeout", "debug", "enable_debug", "request_guid",
		fieldMark, fieldSender, fieldReceiver, fieldNonce,
	}, key)
}

// Marked says whether a document claims to be encrypted.
func Marked(doc jsonscan.Value) bool {
	_, ok := doc.Get(fieldMark)
	return ok
}

// Receiver is the key that a document says it is encrypted to.
func Receiver(doc jsonscan.Value) ([KeySize]byte, error) { return readKey(doc, fieldReceiver) }

// Conversation is one request and its answers.
type Conversation struct {
	seed [KeySize]byte
	// peer is the client's key at the worker, the worker's at the client.
	peer [KeySize]byte
}

// SealRequest encrypts a request to a worker's key with the client's seed.
func SealRequest(doc []byte, seed, worker [KeySize]byte, random io.Reader) ([]byte, *Conversation, error) {
	c := &Conversation{seed: seed, peer: worker}
	out, err := c.seal(doc, ToWorker, random)
	return out, c, err
}

// OpenRequest decrypts a request with the worker's seed. The four members of the encryption are gone from the result.
func OpenRequest(doc []byte, seed [KeySize]byte) ([]byte, *Conversation, error) {
	v, err := jsonscan.Check(doc)
	if err != nil {
		return nil, nil, err
	}
	sender, err := readKey(v, fieldSender)
	if err != nil {
		return nil, nil, err
	}
	c := &Conversation{seed: seed, peer: sender}
	out, err := c.open(v, ToWorker)
	return out, c, err
}

// SealAnswer encrypts one object of the answer under a fresh nonce.
func (c *Conversation) SealAnswer(doc []byte, random io.Reader) ([]byte, error) {
	return c.seal(doc, ToClient, random)
}

// OpenAnswer decrypts one object of the answer.
func (c *Conversation) OpenAnswer(doc []byte) ([]byte, error) {
	v, err := jsonscan.Check(doc)
	if err != nil {
		return nil, err
	}
	sender, err := readKey(v, fieldSender)
	if err != nil {
		return nil, err
	}
	if sender != c.peer {
		return nil, fmt.Errorf("%w: %s is another's", ErrKey, fieldSender)
	}
	return c.open(v, ToClient)
}

func (c *Conversation) seal(doc []byte, d Direction, random io.Reader) ([]byte, error) {
	v, err := jsonscan.Check(doc)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, nonceSize)
	if _, err := io.ReadFull(random, raw); err != nil {
		return nil, fmt.Errorf("making nonce: %w", err)
	}
	nonce := base64.StdEncoding.EncodeToString(raw)
	secret, err := Agree(c.seed, c.peer, nonce, d)
	if err != nil {
		return nil, err
	}
	out, err := rewrite(nil, v, func(s string) (string, error) {
		sealed, err := secret.Seal([]byte(s), random)
		return encrypted + hex.EncodeToString(sealed), err
	})
	if err != nil {
		return nil, err
	}
	own := Public(c.seed)
	if out = out[:len(out)-1]; len(out) > 1 {
		out = append(out, ',')
	}
	return fmt.Appendf(out, `%q:%q,%q:"%x",%q:"%x",%q:%q}`, fieldMark, version1, fieldSender, own, fieldReceiver, c.peer, fieldNonce, nonce), nil
}

func (c *Conversation) open(v jsonscan.Value, d Direction) ([]byte, error) {
	if mark, _ := text(v, fieldMark); mark != version1 {
		return nil, fmt.Errorf("%w: %s is not %s", ErrCiphertext, fieldMark, version1)
	}
	receiver, err := readKey(v, fieldReceiver)
	if err != nil {
		return nil, err
	}
	if receiver != Public(c.seed) {
		return nil, fmt.Errorf("%w: %s is another's", ErrKey, fieldReceiver)
	}
	nonce, ok := text(v, fieldNonce)
	if !ok || len(nonce) > maxNonce {
		return nil, fmt.Errorf("%w: %s", ErrCiphertext, fieldNonce)
	}
	secret, err := Agree(c.seed, c.peer, nonce, d)
	if err != nil {
		return nil, err
	}
	out, err := rewrite(nil, v, secret.openString)
	if err != nil {
		return nil, err
	}
	opened, err := jsonscan.Check(out)
	if err != nil {
		return nil, err
	}
	edit := jsonscan.NewEdit(opened)
	for _, key := range []string{fieldMark, fieldSender, fieldReceiver, fieldNonce} {
		edit.Cut(key)
	}
	return edit.Bytes(), nil
}

// openString decrypts one string value.
func (s Secret) openString(value string) (string, error) {
	if rest, ok := strings.CutPrefix(value, plain); ok {
		return rest, nil
	}
	rest, ok := strings.CutPrefix(value, encrypted)
	if !ok {
		return "", fmt.Errorf("%w: a string without %s or %s", ErrCiphertext, encrypted, plain)
	}
	sealed, err := hex.DecodeString(rest)
	if err != nil {
		return "", fmt.Errorf("%w: not hexadecimal", ErrCiphertext)
	}
	data, err := s.Open(sealed)
	if err == nil && !utf8.Valid(data) {
		err = fmt.Errorf("%w: not UTF-8", ErrCiphertext)
	}
	return string(data), err
}

func text(v jsonscan.Value, key string) (string, bool) {
	m, _ := v.Get(key)
	return m.Text()
}

// readKey reads a key as 64 hexadecimal digits, 44 characters of base64, or 32 bytes.
func readKey(v jsonscan.Value, field string) (key [KeySize]byte, err error) {
	word, _ := text(v, field)
	raw := []byte(word)
	switch len(word) {
	case KeySize:
	case 2 * KeySize:
		raw, err = hex.DecodeString(word)
	case base64.StdEncoding.EncodedLen(KeySize):
		raw, err = base64.StdEncoding.DecodeString(word)
	}
	if err != nil || len(raw) != KeySize {
		return key, fmt.Errorf("%w: %s is no key", ErrKey, field)
	}
	return [KeySize]byte(raw), nil
}

// rewrite writes a value with every string replaced, except below the open members of any object.
func rewrite(dst []byte, v jsonscan.Value, replace func(string) (string, error)) ([]byte, error) {
	switch v.Kind() {
	case jsonscan.Object:
		dst = append(dst, '{')
		first := true
		for m := range v.All() {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(appendString(dst, string(m.Key)), ':')
			if open(string(m.Key)) {
				dst = append(dst, m.Raw()...)
				continue
			}
			var err error
			if dst, err = rewrite(dst, m.Value, replace); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	case jsonscan.Array:
		dst = append(dst, '[')
		first := true
		for e := range v.Each() {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			var err error
			if dst, err = rewrite(dst, e, replace); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case jsonscan.String:
		s, _ := v.Text()
		out, err := replace(s)
		if err != nil {
			return nil, err
		}
		return appendString(dst, out), nil
	default:
		return append(dst, v.Raw()...), nil
	}
}

func appendString(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return append(dst, `""`...)
	}
	return append(dst, quoted...)
}
