package buildlog

import "io"

// pieceSize is how much of one Write is redacted at a time.
const pieceSize = 64 << 10

// Redactor removes credentials from a stream of bytes. What it writes depends
// only on what it is given between two calls of Flush, not on how that is split
// into writes. All other bytes, text or not, pass unchanged. It holds back at
// most 64 KiB and one secret, whatever the length of lines and words.
type Redactor struct {
	dst      io.Writer
	patterns *patternFilter // nil: public
	secrets  *secretFilter
	mid, out []byte // scratch
}

// NewRedactor writes to dst what is left. If private, credentials are removed
// by pattern; then every secret, also when URL-quoted or in base64, becomes
// "[redacted]".
func NewRedactor(dst io.Writer, private bool, secrets []string) *Redactor {
	set := newSecretSet(secrets)
	r := &Redactor{dst: dst, secrets: &secretFilter{set: set}}
	if private {
		r.patterns = &patternFilter{secrets: set}
	}
	return r
}

// Write passes p on without credentials, and keeps back the end of p if it may
// be the beginning of one. After an error of dst the output has a gap.
func (r *Redactor) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, pieceSize)
		if err := r.pass(p[done:done+n], false); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// Flush writes what is kept back, as if the stream ended here.
func (r *Redactor) Flush() error { return r.pass(nil, true) }

func (r *Redactor) pass(p []byte, final bool) error {
	if r.patterns != nil {
		r.mid = r.patterns.filter(r.mid[:0], p, final)
		p = r.mid
	}
	r.out = r.secrets.filter(r.out[:0], p, final)
	if len(r.out) == 0 {
		return nil
	}
	_, err := r.dst.Write(r.out)
	return err
}
