FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY internal internal
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/gray-upgrade ./cmd/gray-upgrade \
 && ln -s gray-upgrade /out/gray-upgrade-close

# Not scratch: Actions Runner Controller in Kubernetes mode runs sh, env and tail of the image. No USER and no WORKDIR: the
# GitHub runner mounts its workspace as root and sets the directory. Elsewhere the pod's security context names the user.
FROM busybox:1.37-musl
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /
# A release names here where this image can be pulled: the watchdog runs it, too.
ARG IMAGE=
ENV GRAY_UPGRADE_IMAGE=${IMAGE}
ENTRYPOINT ["/gray-upgrade"]
