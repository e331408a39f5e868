// A PubSub client: it joins a group, says hello to it and prints each frame, until Ctrl-C.
//
// java PubSub.java [URL] [GROUP]      without URL, or with '', it is that of WPS_CLIENT_URL

import java.net.URI;
import java.net.http.*;
import java.util.concurrent.*;

public class PubSub implements WebSocket.Listener {
    private final StringBuilder frame = new StringBuilder();
    private final CountDownLatch closed = new CountDownLatch(1);
    private final String group;
    private CompletableFuture<?> sent = CompletableFuture.completedFuture(null); // the JDK takes one at a time

    PubSub(String group) {
        this.group = group;
    }

    public static void main(String[] args) throws Exception {
        String url = args.length > 0 && !args[0].isEmpty() ? args[0] : System.getenv("WPS_CLIENT_URL");
        if (url == null) {
            System.err.println("usage: java PubSub.java [URL] [GROUP], or the URL in WPS_CLIENT_URL");
            System.exit(2);
        }
        var client = new PubSub(args.length > 1 ? args[1] : "room-0");
        var socket = HttpClient.newHttpClient().newWebSocketBuilder()
                .subprotocols("json.webpubsub.azure.v1").buildAsync(URI.create(url), client).join();
        Runtime.getRuntime().addShutdownHook(new Thread( // Ctrl-C
                () -> socket.sendClose(WebSocket.NORMAL_CLOSURE, "").handle((sent, error) -> sent).join()));
        client.ask(socket, "'type':'joinGroup','group':'%s','ackId':1");
        client.closed.await();
    }

    private synchronized void ask(WebSocket socket, String request) {
        String text = "{" + request.replace('\'', '"').formatted(group) + "}"; // the JDK has no JSON
        sent = sent.thenCompose(done -> socket.sendText(text, true));
        sent.exceptionally(error -> { onError(socket, error); return null; });
    }

    @Override
    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
        frame.append(part);
        if (isLast) {
            System.out.println(frame);
            // Only after the ack: until then nobody knows whether the group may be joined.
            if (frame.indexOf("{\"type\":\"ack\",\"ackId\":1,\"success\":true") == 0)
                ask(socket, "'type':'sendToGroup','group':'%s','dataType':'text','data':'hello from Java','ackId':2");
            frame.setLength(0);
        }
        socket.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
        closed.countDown();
        return null;
    }

    @Override
    public void onError(WebSocket socket, Throwable error) {
        System.err.println(error.getMessage());
        closed.countDown();
    }
}
