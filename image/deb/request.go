package deb

import (
	"context"
	"time"

	"cocoon/image/lock"
)

// Fetcher is what resolving needs from the network; fetch.Fetcher is one.
type Fetcher interface {
	// Get reads a small document of unknown hash, at most limit bytes.
	Get(ctx context.Context, url string, limit int64) ([]byte, error)
	// File brings a file of known SHA-256 and returns its path.
	File(ctx context.Context, a lock.Artefact) (string, error)
}

// Request is what "image lock update" asks of the archives.
type Request struct {
	Arch   string // Debian's name, for example "amd64"
	Suites []Suite
	Groups []Group
	// Now judges Valid-Until and key expiry.
	Now time.Time
	// Workers bounds parallel downloads and index parsing (0 = 4).
	Workers int
}

// Suite is an archive to resolve from.
type Suite struct {
	Name       string // codename, for example "trixie-backports"
	Mirror     string // base URL without a slash at the end: "http://deb.debian.org/debian"
	Components []string
	// Keyring holds the public keys that may sign, armored or binary.
	Keyring []byte
	// AcceptExpired lets an index pass whose Valid-Until is over; the lock records it.
	AcceptExpired bool
	// Snapshot is the base URL of a snapshot service ("https://snapshot.debian.org"; "" = none).
	Snapshot string
}

// Group is one part of the build with its own closure.
type Group struct {
	Name string
	// Suites are names in order of preference: a package comes from the first suite that has a fitting version.
	Suites []string
	// Packages are names, or name=version for an exact pin.
	Packages []string
	// Choices picks a provider for a virtual package or an alternative of a dependency: virtual name -> package name.
	Choices map[string]string
	// Exclude are dependencies that the recipe declares unneeded.
	Exclude []string
	// NoDepends takes the named packages alone.
	NoDepends bool
	// Direct are packages by pool path, for versions that the index no longer lists.
	Direct []Direct
}

// Direct is a package by place and hash. Size may be 0 when it is not known yet.
type Direct struct {
	Name, Version, Arch string
	Suite               string // whose mirror has it
	Path                string // pool path
	SHA256              string
	Size                int64
}

// Resolution is what goes into the lock.
type Resolution struct {
	Suites    []lock.Suite
	Artefacts []lock.Artefact
	// UnusedExcludes are "group: name" for exclusions that nothing needed, in order.
	UnusedExcludes []string
}
