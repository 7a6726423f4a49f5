// A peer with OpenSSL, set up as the reference implementation sets it up (attestation.md sections 2 to 5), to test wire
// compatibility with. It solves or poses the proof of work, does mutual TLS 1.3, exchanges one line and ends without
// close_notify.
//
// usage: peer client|server PORT CERT.pem KEY.pem
// A server prints its port first. The last line of output is "ok LINE PEER_KEY GROUP" or "error N TEXT", N being OpenSSL's
// verification error or -1.

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static long refused = -1;

// tolerate passes self-signed leaves and critical extensions that OpenSSL does not know, and nothing else.
static int tolerate(int preverified, X509_STORE_CTX *store) {
  int code = X509_STORE_CTX_get_error(store);
  if (preverified) return 1;
  if (X509_STORE_CTX_get_error_depth(store) == 0 &&
      (code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || code == X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION))
    return 1;
  refused = code;
  return 0;
}

static void fail(const char *what) {
  unsigned long e = ERR_get_error();
  printf("error %ld %s: %s\n", refused, what, e ? ERR_reason_error_string(e) : "no reason");
  fflush(stdout);
  _exit(1);
}

static void all(int fd, void *buf, size_t n, int writing) {
  for (size_t done = 0; done < n;) {
    ssize_t got = writing ? write(fd, (char *)buf + done, n - done) : read(fd, (char *)buf + done, n - done);
    if (got <= 0) fail("proof of work: connection ended");
    done += (size_t)got;
  }
}

static int satisfies(const unsigned char salt[16], uint64_t nonce, int difficulty) {
  unsigned char in[24], digest[32];
  uint64_t head;
  memcpy(in, salt, 16);
  memcpy(in + 16, &nonce, 8);
  SHA256(in, 24, digest);
  memcpy(&head, digest, 8);
  return difficulty == 0 || (difficulty < 64 && head >> (64 - difficulty) == 0);
}

static void solve(int fd) {
  unsigned char challenge[24], response[12] = {0x19, 0x73, 0x82, 0x01};
  int32_t difficulty;
  uint64_t nonce = 0;
  all(fd, challenge, sizeof challenge, 0);
  if (memcmp(challenge, "\x91\x12\x8e\x41", 4)) fail("proof of work: no challenge");
  memcpy(&difficulty, challenge + 4, 4);
  if (difficulty < 0 || difficulty > 28) fail("proof of work: difficulty");
  while (!satisfies(challenge + 8, nonce, difficulty)) nonce++;
  memcpy(response + 4, &nonce, 8);
  all(fd, response, sizeof response, 1);
}

static void pose(int fd) {
  unsigned char challenge[24] = {0x91, 0x12, 0x8e, 0x41, 9, 0, 0, 0, 's', 'a', 'l', 't'}, response[12];
  uint64_t nonce;
  all(fd, challenge, sizeof challenge, 1);
  all(fd, response, sizeof response, 0);
  memcpy(&nonce, response + 4, 8);
  if (memcmp(response, "\x19\x73\x82\x01", 4) || !satisfies(challenge + 8, nonce, 9)) fail("proof of work: wrong response");
}

static SSL_CTX *context(int server, const char *cert, const char *key) {
  SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
  X509_VERIFY_PARAM *param;
  if (!ctx) fail("context");
  SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
  if (SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") != 1) fail("cipher suites");
  SSL_CTX_set_quiet_shutdown(ctx, 1);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 0);
  if (SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM) != 1) fail("certificate");
  if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) fail("key");
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), tolerate);
  param = SSL_CTX_get0_param(ctx);
  if (!server && X509_VERIFY_PARAM_set1_host(param, "127.0.0.1", 0) != 1) fail("host name");
  return ctx;
}

static int connected(int server, int port) {
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
  socklen_t size = sizeof addr;
  int fd = socket(AF_INET, SOCK_STREAM, 0), peer;
  struct timeval limit = {.tv_sec = 20};
  if (fd < 0) fail("socket");
  if (!server) {
    if (connect(fd, (struct sockaddr *)&addr, size)) fail("connect");
    return fd;
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (bind(fd, (struct sockaddr *)&addr, size) || listen(fd, 1) || getsockname(fd, (struct sockaddr *)&addr, &size)) fail("listen");
  printf("%d\n", ntohs(addr.sin_port));
  fflush(stdout);
  if ((peer = accept(fd, NULL, NULL)) < 0) fail("accept");
  return peer;
}

int main(int argc, char **argv) {
  char line[64];
  unsigned char raw[32];
  size_t raw_size = sizeof raw;
  if (argc != 5) fail("usage: peer client|server PORT CERT KEY");
  int server = !strcmp(argv[1], "server"), fd = connected(server, atoi(argv[2])), n;
  struct timeval limit = {.tv_sec = 20};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (server) pose(fd);
  else solve(fd);
  SSL *ssl = SSL_new(context(server, argv[3], argv[4]));
  SSL_set_fd(ssl, fd);
  if ((server ? SSL_accept(ssl) : SSL_connect(ssl)) != 1) fail("handshake");
  if (server) {
    if ((n = SSL_read(ssl, line, sizeof line - 1)) <= 0) fail("read");
    if (SSL_write(ssl, line, n) != n) fail("write");
  } else {
    if (SSL_write(ssl, "hello from C", 12) != 12) fail("write");
    if ((n = SSL_read(ssl, line, sizeof line - 1)) <= 0) fail("read");
  }
  line[n] = 0;
  X509 *peer = SSL_get1_peer_certificate(ssl);
  if (!peer || EVP_PKEY_get_raw_public_key(X509_get0_pubkey(peer), raw, &raw_size) != 1 || raw_size != 32) fail("peer key");
  printf("ok \"%s\" ", line);
  for (int i = 0; i < 32; i++) printf("%02x", raw[i]);
  printf(" %s\n", OBJ_nid2sn((int)SSL_get_negotiated_group(ssl) & 0xffff));
  fflush(stdout);
  SSL_shutdown(ssl);  // quiet: says nothing
  close(fd);
  return 0;
}
