package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/eventlog"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// maxExhibit bounds a file with a quote: text forms are larger than the quote.
const maxExhibit = 4 * tdx.MaxQuote

// exhibit is a file with a quote in it.
type exhibit struct {
	path string
	// raw is the quote with whatever follows it. quote is nil if it cannot be read, and err says why.
	raw   []byte
	quote *tdx.Quote
	err   error
	// certificate and claimed are set when the file is a certificate that carries the quote.
	certificate *x509.Certificate
	claimed     *cert.Evidence
}

// readExhibit reads a quote, as bytes or as hexadecimal text, or a certificate that carries one, in PEM or DER.
func readExhibit(path string) (*exhibit, error) {
	data, err := cli.ReadFile(path, maxExhibit)
	if err != nil {
		return nil, err
	}
	x := &exhibit{path: path, raw: data}
	if block, rest := pem.Decode(data); block != nil && bytes.HasPrefix(data, []byte("-----BEGIN CERTIFICATE-----")) {
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, cli.Usagef("%s holds more than one certificate; evidence is in a single one", path)
		}
		data = block.Bytes
	}
	if c, err := x509.ParseCertificate(data); err == nil {
		if err := x.carried(c); err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", path, err))
		}
	} else if text, err := hex.DecodeString(string(bytes.TrimSpace(data))); err == nil && len(text) > 0 {
		x.raw = text
	}
	if x.quote, x.err = tdx.ParseQuote(x.raw); x.err != nil {
		x.err = fmt.Errorf("%s: %w", path, x.err)
	}
	return x, nil
}

// carried takes the quote out of a certificate.
func (x *exhibit) carried(c *x509.Certificate) error {
	claimed, err := cert.Inspect(c, cert.Server)
	switch {
	case err != nil:
		return err
	case claimed.Kind != cert.TDX:
		return fmt.Errorf("the certificate carries no quote; its kind of evidence is %s", claimed.Kind)
	}
	x.certificate, x.claimed, x.raw = c, claimed, claimed.Quote
	return nil
}

// lifetime is the certificate's; zero without one.
func (x *exhibit) lifetime() time.Duration {
	if x.certificate == nil {
		return 0
	}
	return x.certificate.NotAfter.Sub(x.certificate.NotBefore)
}

// readTD reads a file with a quote of a TD.
func readTD(path string) (*exhibit, error) {
	x, err := readExhibit(path)
	switch {
	case err != nil:
		return nil, err
	case x.err != nil:
		return nil, cli.Tag(cli.KindUsage, x.err)
	case x.quote.TD == nil:
		return nil, cli.Usagef("%s is a quote of an %s enclave, not of a TD", path, x.quote.TEE)
	}
	return x, nil
}

// readQuote reads a TD's quote from a file.
func readQuote(path string) (*tdx.Quote, error) {
	x, err := readTD(path)
	if err != nil {
		return nil, err
	}
	return x.quote, nil
}

// logKind is the value of --log-kind.
type logKind string

// The kinds of logs.
const (
	kindTD  logKind = "td"
	kindTPM logKind = "tpm"
)

// kindFlag describes --log-kind.
const kindFlag = "whose log it is: `td` (CCEL) or tpm"

// readLog reads an event log file.
func readLog(path string, kind logKind) (*eventlog.Log, error) {
	k := eventlog.TD
	switch kind {
	case kindTD:
	case kindTPM:
		k = eventlog.TPM
	default:
		return nil, cli.Usagef("log kind %q is neither td nor tpm", kind)
	}
	data, err := cli.ReadFile(path, maxEvidence)
	if err != nil {
		return nil, err
	}
	log, err := eventlog.Parse(data, k)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", path, err))
	}
	return log, nil
}
