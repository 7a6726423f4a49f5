// Package kept reads and writes the small files in which a gateway keeps what it knows over restarts: budgets, records of
// proxies.
//
// It owns that such a file is read whole within a bound or not at all, that one that was never written is no error, and that
// it is replaced whole, readable by its owner alone. It trusts nothing in a file: what stands in it is its caller's to
// judge. Its functions may be used concurrently for different files. It refuses files beyond their bound.
package kept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/google/renameio/v2"
)

// Read is what a file holds, at most so many bytes; nil when it was never written.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()                                    //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, most+1)) // whatever its size is said to be
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > most:
		return nil, fmt.Errorf("%s has over %d bytes", path, most)
	case data == nil:
		return []byte{}, nil
	}
	return data, nil
}

// Write replaces the file by a document, whole or not at all.
func Write(path string, document any) error {
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, append(data, '\n'), 0o600)
}
