// A simple client: it sends one text and prints what comes back, until Ctrl-C.
//
// java Simple.java [URL]      without it the URL is that of WPS_CLIENT_URL

import java.net.URI;
import java.net.http.*;
import java.util.concurrent.*;

public class Simple implements WebSocket.Listener {
    private final StringBuilder frame = new StringBuilder();
    private final CountDownLatch closed = new CountDownLatch(1);

    public static void main(String[] args) throws Exception {
        String url = args.length > 0 ? args[0] : System.getenv("WPS_CLIENT_URL");
        if (url == null) {
            System.err.println("usage: java Simple.java [URL], or the URL in WPS_CLIENT_URL");
            System.exit(2);
        }
        var client = new Simple();
        // No subprotocol: frames are messages, and there are no others.
        var socket = HttpClient.newHttpClient().newWebSocketBuilder()
                .buildAsync(URI.create(url), client).join();
        Runtime.getRuntime().addShutdownHook(new Thread( // Ctrl-C
                () -> socket.sendClose(WebSocket.NORMAL_CLOSURE, "").handle((sent, error) -> sent).join()));
        socket.sendText("hello from Java", true);
        client.closed.await();
    }

    @Override
    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
        frame.append(part);
        if (isLast) {
            System.out.println(frame);
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
