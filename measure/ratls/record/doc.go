// Package record is the record layer of TLS 1.3 after the handshake (RFC 8446 sections 4.6, 5, 6 and 7.3), for programs that
// hold many connections which are idle most of the time.
//
// crypto/tls makes the handshake and everything that decides whom one speaks to. Its Conn keeps the handshake's largest
// messages for as long as the connection lives, in the buffers that they have grown and as parsed certificates: with a
// peer that shows a quote, 24 KiB. A Conn of this package takes over where the handshake has ended, from the traffic
// secrets and the connection below, and holds two keys; its buffers are borrowed while records move.
//
// It owns keys, sequence numbers, records, alerts, key updates. It trusts its creator for the secrets and for the
// connection being exactly behind the handshake, which a Fence sees to. Records come from whoever can write to the
// network: every length is bounded, and after the first record that is wrong nothing is read any more. One goroutine may
// read while another writes. It refuses early data, requests for certificates, any version but 1.3 and any cipher suite but
// those with AES-GCM.
package record
