# A transfer that is still under way at the end of shutdown_grace is cut so that its client sees it: nothing answers for a pod that is gone,
# so a client that is not told waits for ever.
helm upgrade refshim "$chart" -n refshim -f "$here/values/plain.yaml" --set config.server.shutdown_grace=3s --wait --timeout 120s >"$state/log/helm-cut.log" 2>&1
server=http://$(address_of refshim refshim):5100
head -c 100000000 /dev/zero >"$state/blob"
digest=sha256:$(sha256sum "$state/blob" | cut -d' ' -f1)
upload=$(inside curl -sf -X POST -o /dev/null -w '%header{location}' "$server/v2/o/app/blobs/uploads/")
[[ $upload == http* ]] || upload=$server$upload
inside curl -sf -X PUT -T "$state/blob" -H 'content-type: application/octet-stream' "$upload$([[ $upload == *\?* ]] && echo '&' || echo '?')digest=$digest"
# 50 seconds at this rate. What the kernel has received when the connection is cut, some megabytes, curl reads first.
(inside curl -s --limit-rate 2M --max-time 40 -o /dev/null "$server/v2/o/app/blobs/$digest" || exit $?) &
pull=$! seen=0
sleep 2
kubectl -n refshim rollout restart deployment/refshim >/dev/null
kubectl -n refshim rollout status deployment/refshim --timeout=90s >/dev/null
wait $pull || seen=$?
# curl's words for a connection that was reset, or that ended before the body did.
[ "$seen" = 56 ] || [ "$seen" = 18 ] || fail "curl ended with $seen (28: it waited in vain) when the pod that served it was gone"
say "curl ended with $seen when its pod went"
