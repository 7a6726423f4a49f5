package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cocoon/image/rootfs"
)

const (
	// maxListing bounds a listing; the largest expected, of an engine layer, is about 20 MB.
	maxListing = 256 << 20
	// ListingSuffix ends the name of a listing; the stem is the artefact it lists.
	ListingSuffix = ".files"
)

// EncodeListing writes a listing artefact: the lines of rootfs.Listing, each with a tab and the input that brought
// the path, so that a difference between two images can name its origin long after the build.
func EncodeListing(t *rootfs.Tree) ([]byte, error) {
	var out bytes.Buffer
	lines := bytes.Split(bytes.TrimSuffix(rootfs.Listing(t), []byte("\n")), []byte("\n"))
	for i, n := range t.Nodes() {
		if strings.ContainsAny(n.Inode.Origin, "\t\n") {
			return nil, fmt.Errorf("listing %q: origin %q contains a tab or a newline", n.Path, n.Inode.Origin)
		}
		fmt.Fprintf(&out, "%s\t%s\n", lines[i], n.Inode.Origin)
	}
	return out.Bytes(), nil
}

// ParseListing returns the origin of every path of a listing.
func ParseListing(data []byte) (map[string]string, error) {
	if len(data) > maxListing {
		return nil, fmt.Errorf("reading listing: %d bytes, at most %d", len(data), maxListing)
	}
	text, ok := strings.CutSuffix(string(data), "\n")
	if !ok {
		return nil, errors.New("reading listing: no newline at the end")
	}
	origins := make(map[string]string)
	for i, line := range strings.Split(text, "\n") {
		path, origin, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("reading listing: line %d: %w", i+1, err)
		}
		if _, twice := origins[path]; twice {
			return nil, fmt.Errorf("reading listing: line %d: path %q appears twice", i+1, path)
		}
		origins[path] = origin
	}
	return origins, nil
}

// parseLine takes `kind mode owner field "path"<tab>origin` apart; the field may be quoted itself.
func parseLine(line string) (path, origin string, err error) {
	line, origin, ok := strings.Cut(line, "\t")
	parts := strings.SplitN(line, " ", 4)
	if !ok || len(parts) != 4 {
		return "", "", errors.New("want type, mode, owner, field, path, a tab and the origin")
	}
	rest := parts[3]
	field, _, _ := strings.Cut(rest, " ")
	if strings.HasPrefix(rest, `"`) {
		if field, err = strconv.QuotedPrefix(rest); err != nil {
			return "", "", fmt.Errorf("field: %w", err)
		}
	}
	path, err = strconv.Unquote(strings.TrimPrefix(rest[len(field):], " "))
	if err != nil {
		return "", "", fmt.Errorf("path: %w", err)
	}
	return path, origin, nil
}
