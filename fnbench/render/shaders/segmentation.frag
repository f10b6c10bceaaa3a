#version 330 core
out vec4 frag_color;
void main() {
    int id = gl_PrimitiveID + 1; // 0 is the background
    frag_color = vec4(id & 255, (id >> 8) & 255, (id >> 16) & 255, 255) / 255.0;
}
