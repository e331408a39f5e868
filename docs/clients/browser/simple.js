// A simple client: it sends one text and shows what comes back.

function connectSimple (url, show) {
  const socket = new WebSocket(url) // no subprotocol: frames are messages, and there are no others
  socket.onopen = () => socket.send('hello from the browser')
  socket.onmessage = ({ data }) => show(data)
  socket.onclose = ({ code }) => show(`closed ${code}`)
  return {
    say: (text) => socket.send(text),
    close: () => socket.close(1000)
  }
}
