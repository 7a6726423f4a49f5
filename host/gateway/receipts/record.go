package receipts

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/receipt"
)

const (
	// maxLine bounds a record: a receipt and what stands around it.
	maxLine = receipt.MaxDocument + 4096
	// checksum is the length of a line's checksum and the space behind it.
	checksum = 9
)

// Record is one receipt with what the gateway knows around it.
type Record struct {
	Time   time.Time `json:"time"`
	ID     string    `json:"id"`
	ChatID string    `json:"chat_id,omitempty"`
	Model  string    `json:"model"`
	// Key is the name of the API key that the request was made with.
	Key   string `json:"key,omitempty"`
	Proxy string `json:"proxy"`
	// Class is "ok", or the class of the rule that the receipt breaks; Why says more.
	Class  string `json:"class"`
	Why    string `json:"why,omitempty"`
	Status string `json:"status,omitempty"`
	Tokens int64  `json:"tokens"`
	// Cost is in nanoTON.
	Cost uint64 `json:"cost_nano,string"`
	// Receipt is the document as it came, JSON in one line; absent when it was none.
	Receipt json.RawMessage `json:"receipt,omitempty"`
}

// OK says that the receipt was verified.
func (r *Record) OK() bool { return r.Class == ClassOK }

// ClassOK is the class of a good receipt.
const ClassOK = "ok"

// appendLine appends a record as a line: its CRC-32C, a space, the document in the form of encoding/json, which reads it.
func appendLine(dst []byte, r *Record) ([]byte, error) {
	start := len(dst)
	line, err := r.Time.AppendText(append(dst, `         {"time":"`...)) // the checksum follows
	if err != nil {
		return dst, fmt.Errorf("writing receipt: %w", err)
	}
	line = append(line, '"')
	for _, m := range [...]struct {
		lead, text string
		always     bool
	}{
		{`,"id":`, r.ID, true},
		{`,"chat_id":`, r.ChatID, false},
		{`,"model":`, r.Model, true},
		{`,"key":`, r.Key, false},
		{`,"proxy":`, r.Proxy, true},
		{`,"class":`, r.Class, true},
		{`,"why":`, r.Why, false},
		{`,"status":`, r.Status, false},
	} {
		if m.always || m.text != "" {
			line = appendText(append(line, m.lead...), m.text)
		}
	}
	line = strconv.AppendInt(append(line, `,"tokens":`...), r.Tokens, 10)
	line = strconv.AppendUint(append(line, `,"cost_nano":"`...), r.Cost, 10)
	line = append(line, '"')
	if bytes.IndexByte(r.Receipt, '\n') >= 0 {
		return dst, errors.New("writing receipt: it is not in one line")
	}
	if len(r.Receipt) > 0 { // the document stands as it came: it is JSON in one line (Record)
		line = append(append(line, `,"receipt":`...), r.Receipt...)
	}
	line = append(line, '}')
	if size := len(line) - start; size > maxLine {
		return dst, fmt.Errorf("writing receipt: %d bytes, at most %d", size-checksum, maxLine-checksum)
	}
	sum := crc32.Checksum(line[start+checksum:], crc32.MakeTable(crc32.Castagnoli))
	var four [4]byte
	binary.BigEndian.PutUint32(four[:], sum)
	hex.Encode(line[start:], four[:])
	return append(line, '\n'), nil
}

// appendText appends a string in JSON. What does not stand for itself is encoding/json's to write.
func appendText(dst []byte, s string) []byte {
	quoted := append(append(dst, '"'), s...)
	if jsonscan.Plain(quoted[len(dst)+1:]) == len(s) {
		return append(quoted, '"')
	}
	var odd strings.Builder
	enc := json.NewEncoder(&odd)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) //nolint:errchkjson // a string can always be encoded
	return append(dst, strings.TrimSuffix(odd.String(), "\n")...)
}

func decode(line []byte) (r Record, err error) {
	if len(line) <= checksum || line[checksum-1] != ' ' {
		return r, errors.New("no checksum")
	}
	want, err := strconv.ParseUint(string(line[:checksum-1]), 16, 32)
	body := bytes.TrimSuffix(line[checksum:], []byte("\n"))
	if err != nil || uint64(crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))) != want {
		return r, errors.New("the checksum does not fit")
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("reading record: %w", err)
	}
	if r.ID == "" {
		return r, errors.New("no id")
	}
	return r, nil
}

// scan goes through the lines of a file. It returns where the last whole line ends.
func scan(in io.Reader, visit func(at int64, line []byte, r Record)) (whole int64, damaged int, err error) {
	reader := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return whole, damaged, nil // what is left has no line end: it was being written
		case errors.Is(err, bufio.ErrBufferFull):
			n, skipErr := skip(reader)
			if skipErr != nil {
				return whole, damaged + 1, nil //nolint:nilerr // the overlong line has no end: it is cut off
			}
			whole += int64(len(line)) + n
			damaged++
			continue
		case err != nil:
			return whole, damaged, err
		}
		if r, err := decode(line); err == nil {
			visit(whole, line, r)
		} else {
			damaged++
		}
		whole += int64(len(line))
	}
}

// skip reads to the end of an overlong line.
func skip(r *bufio.Reader) (n int64, err error) {
	for {
		line, err := r.ReadSlice('\n')
		n += int64(len(line))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}
