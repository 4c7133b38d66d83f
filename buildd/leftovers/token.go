package leftovers

import (
	"context"
	"log/slog"
	"strings"

	"lpbuildd/buildd/proxy"
)

// undoToken revokes a token that a dead build left behind. As at the end of every
// build, one attempt is all there is, so the end of ctx does not cut it off; what
// goes wrong is told.
func undoToken(ctx context.Context, id string, log *slog.Logger) {
	build := id[:max(0, strings.LastIndexByte(id, '/'))] // the rest is the key
	token, err := proxy.Unpark(id)
	if err != nil {
		// Gone with a restart of the machine: it is on no disk.
		log.Warn("Cannot revoke the proxy token of a dead build, which stays valid until it expires", "build_id", build, "error", err)
		return
	}
	if err := token.Revoke(context.WithoutCancel(ctx), nil); err != nil {
		log.Warn("Cannot revoke the proxy token of a dead build", "build_id", build, "user", token.User(), "error", err)
	}
	if err := proxy.Forget(id); err != nil {
		log.Warn("Cannot forget a revoked token", "build_id", build, "error", err)
	}
}
